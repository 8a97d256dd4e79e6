//! Numbers of functions that stay when a component is replaced by another revision of it.
//!
//! Owns how a surface is numbered after the one before it. A message that waits, a link and whoever resolved a function once
//! hold its number, so the same function keeps it from revision to revision; a new function gets one that nothing had
//! before it. The number of one that is gone leads nowhere, and is that function's again when it comes back: what was kept of
//! an earlier revision, and whoever has known it since, agree on it.

use std::sync::Arc;

use super::{ExportId, Function, InterfaceName, Surface};

/// The number of the function at each place; in order from 0 without any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers(Option<Arc<Numbered>>);

#[derive(Debug, PartialEq, Eq)]
struct Numbered {
    /// By place.
    of: Box<[ExportId]>,
    /// How many numbers have been given, those of functions that are gone included.
    given: usize,
    /// Of functions that are gone.
    gone: Box<[(ExportId, InterfaceName, Function)]>,
}

impl Numbers {
    fn at(&self, place: usize) -> ExportId {
        match &self.0 {
            None => ExportId::from_index(place),
            Some(numbered) => numbered.of.get(place).copied().unwrap_or(ExportId::NONE),
        }
    }

    fn gone(&self) -> &[(ExportId, InterfaceName, Function)] {
        self.0.as_ref().map_or(&[], |numbered| &numbered.gone)
    }

    pub(super) fn place_of(&self, id: ExportId) -> Option<usize> {
        match &self.0 {
            None => Some(id.index()),
            Some(numbered) => numbered.of.iter().position(|number| *number == id),
        }
    }
}

impl Surface {
    /// Returns this surface with the numbers of `before`: a function that both export, of the same type and in the same
    /// interface or another version of it on the same track, keeps its number, and one that comes back has the number again that
    /// it had when `before`, or what that was numbered after, lost it. Every other one gets a number of its own.
    ///
    /// ```
    /// use airssys_wasm::Surface;
    /// let before = Surface::from_wit("package a:b@0.1.0; interface i { g: func(); h: func(); }")?;
    /// let after = Surface::from_wit("package a:b@0.1.1; interface i { f: func(); h: func(); }")?;
    /// let after = after.numbered_after(&before);
    /// assert_eq!(after.export("i#h")?, before.export("i#h")?);
    /// assert!(after.export_function(before.export("i#g")?).is_none());
    /// assert_eq!(before.numbered_after(&after).export("i#g")?, before.export("i#g")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn numbered_after(&self, before: &Surface) -> Surface {
        let gone = before.numbers.gone().iter();
        let gone = gone.map(|(id, interface, function)| (*id, interface, function));
        let mut known: Vec<_> = before.export_functions().chain(gone).collect();
        let all: Vec<_> = self.export_functions().collect();
        let mut numbers = vec![None; all.len()];
        // An exact name wins over one that it stands in for, and no two functions have one number.
        for fits in [is_of, stands_in_for] {
            for (number, (_, interface, function)) in numbers.iter_mut().zip(&all) {
                if number.is_none() {
                    let found = known.iter().position(|(_, name, before)| {
                        before.name == function.name
                            && fits(interface, name)
                            && before.ty.same_shape(&function.ty)
                    });
                    *number = found.map(|at| known.remove(at).0);
                }
            }
        }
        let mut given = before.numbers_given();
        let mut next = || {
            let id = ExportId::from_index(given);
            given = given.saturating_add(1);
            id
        };
        let numbers = numbers.into_iter();
        let numbers: Box<[_]> = numbers.map(|one| one.unwrap_or_else(&mut next)).collect();
        let in_order = numbers.iter().enumerate();
        let plain = given == numbers.len() && in_order.into_iter().all(|(at, id)| id.index() == at);
        let gone = known.into_iter();
        let numbered = Numbered {
            of: numbers,
            given,
            gone: gone
                .map(|(id, interface, function)| (id, interface.clone(), function.clone()))
                .collect(),
        };
        Surface {
            numbers: Numbers((!plain).then(|| Arc::new(numbered))),
            ..self.clone()
        }
    }

    /// Returns how many numbers of exported functions have been given: every number is smaller.
    #[must_use]
    pub fn numbers_given(&self) -> usize {
        match &self.numbers.0 {
            None => self.exports.iter().map(|one| one.functions.len()).sum(),
            Some(numbered) => numbered.given,
        }
    }

    /// The number of the exported function at this place.
    pub(crate) fn export_at(&self, place: usize) -> ExportId {
        self.numbers.at(place)
    }
}

fn is_of(interface: &InterfaceName, before: &InterfaceName) -> bool {
    before == interface
}

/// Whether it is another version on the same track.
fn stands_in_for(interface: &InterfaceName, before: &InterfaceName) -> bool {
    before.unversioned() == interface.unversioned() && before.accepts(interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(wit: &str) -> Surface {
        Surface::from_wit(wit).unwrap()
    }

    fn numbers(surface: &Surface) -> Vec<(String, usize)> {
        let each = surface.export_functions();
        each.map(|(id, _, function)| (function.name.clone(), id.index()))
            .collect()
    }

    #[test]
    fn functions_keep_their_numbers_and_new_ones_get_new_ones() {
        let one = surface("package a:b; interface i { f: func(); g: func(); h: func(); }");
        let two = surface("package a:b; interface i { h: func(); x: func(); f: func(); }");
        let two = two.numbered_after(&one);
        let as_text = |list: &[(&str, usize)]| -> Vec<_> {
            list.iter()
                .map(|(name, at)| ((*name).to_owned(), *at))
                .collect()
        };
        assert_eq!(numbers(&two), as_text(&[("h", 2), ("x", 3), ("f", 0)]));
        assert_eq!(two.numbers_given(), 4);
        // `g` comes back, and has the number it had; nothing else ever had it.
        let three = surface("package a:b; interface i { g: func(); x: func(); }");
        let three = three.numbered_after(&two);
        assert_eq!(numbers(&three), as_text(&[("g", 1), ("x", 3)]));
        let x = three.export_function(three.export("x").unwrap()).unwrap().1;
        assert_eq!(x.name, "x");
        for gone in [0, 2, 4, 1_000] {
            assert!(three.export_function(ExportId::from_index(gone)).is_none());
        }
        // Over any number of revisions, and whatever comes anew is after all of them.
        let four =
            surface("package a:b; interface i { y: func(); h: func(); g: func(s: string); }");
        let four = four.numbered_after(&three);
        assert_eq!(numbers(&four), as_text(&[("y", 4), ("h", 2), ("g", 5)]));
        let back = one.numbered_after(&four);
        assert_eq!(numbers(&back), numbers(&one));
        assert_eq!(back.numbers_given(), 6);
    }

    #[test]
    fn another_type_is_another_function() {
        let one = surface("package a:b; interface i { f: func(n: u32); g: func(); }");
        let two = surface("package a:b; interface i { f: func(n: u64); g: func(); }");
        let two = two.numbered_after(&one);
        assert_eq!(two.export("f").unwrap().index(), 2);
        assert_eq!(two.export("g").unwrap().index(), 1);
    }

    #[test]
    fn versions_of_one_track_stand_in_for_each_other() {
        let one = surface("package a:b@0.1.1; interface i { f: func(); }");
        let later = surface("package a:b@0.1.2; interface i { f: func(); }");
        assert_eq!(later.numbered_after(&one).export("f").unwrap().index(), 0);
        assert_eq!(one.numbered_after(&later).export("f").unwrap().index(), 0);
        let other = surface("package a:b@0.2.0; interface i { f: func(); }");
        assert_eq!(other.numbered_after(&one).export("f").unwrap().index(), 1);
        // Each way there and back again.
        let back = one.numbered_after(&other.numbered_after(&one));
        assert_eq!(back.export("f").unwrap().index(), 0);
    }

    #[test]
    fn the_same_surface_is_numbered_as_before() {
        let one = surface("package a:b; interface i { f: func(); g: func(); }");
        assert_eq!(one.numbered_after(&one), one);
        assert_eq!(one.numbered_after(&Surface::default()), one);
    }
}
