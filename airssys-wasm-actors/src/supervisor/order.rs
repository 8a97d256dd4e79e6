//! The order in which a supervisor starts its children, as it is changed while they run.
//!
//! Owns what becomes of those that a change does not name: they keep their places. Nobody is started or stopped for it: it
//! counts from the next start, stop or restart of several.

use std::collections::HashMap;

use super::child::ChildSpec;
use super::record::Record;
use super::tuning::Altered;
use crate::address::ActorAddress;

/// Puts those that `order` names in that order, at the places that they have among them.
fn put_in_order(first: &mut [ChildSpec], order: &[ActorAddress]) {
    let ranks: HashMap<_, _> = order.iter().zip(0_usize..).collect();
    let rank = |spec: &ChildSpec| ranks.get(&spec.address).copied();
    let mut named: Vec<_> = first.iter().filter(|spec| rank(spec).is_some()).collect();
    named.sort_by_key(|spec| rank(spec));
    let named: Vec<_> = named.into_iter().cloned().collect();
    let places = first.iter_mut().filter(|spec| rank(spec).is_some());
    for (place, spec) in places.zip(named) {
        *place = spec;
    }
}

impl Record {
    /// It starts those that `order` names in that order from now on; where `only_if` is given, only if those that it names have
    /// that order by now.
    pub(super) fn order_first(
        &self,
        order: &[ActorAddress],
        only_if: Option<&[ActorAddress]>,
    ) -> Altered<Vec<ActorAddress>> {
        // Whoever edits what it starts with has them locked.
        let _children = self.children.lock();
        let addresses = || -> Vec<ActorAddress> {
            let first = self.first.lock();
            first.iter().map(|spec| spec.address.clone()).collect()
        };
        let before = addresses();
        let is_so = |those: &[ActorAddress]| {
            let now = before.iter().filter(|one| those.contains(one));
            now.eq(those.iter().filter(|one| before.contains(one)))
        };
        if only_if.is_none_or(is_so) {
            self.edit_first(|first| put_in_order(first, order));
        }
        let now = addresses();
        Altered { before, now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::SupervisorSpec;

    #[test]
    fn those_that_are_named_change_places_and_no_others_do() {
        let address = |name: &str| name.parse::<ActorAddress>().unwrap();
        let ordered = |first: &str, order: &str| {
            let specs = first
                .split(' ')
                .map(|name| SupervisorSpec::new(address(name)));
            let mut first: Vec<_> = specs.map(ChildSpec::supervisor).collect();
            let order: Vec<_> = order.split(' ').map(address).collect();
            put_in_order(&mut first, &order);
            let names = first.iter().map(|spec| spec.address.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ordered("a b c", "c b a"), "c b a");
        assert_eq!(ordered("a x b y c", "b c a"), "b x c y a");
        assert_eq!(ordered("a b", "z b y a"), "b a");
        assert_eq!(ordered("a b", "z"), "a b");
    }
}
