//! Numbers of functions that stay when a component is replaced by another revision of it.
//!
//! Owns how a surface is numbered after the one before it. A message that waits, a link and whoever resolved a function once
//! hold its number, so the same function keeps it from revision to revision; a new function gets one that nothing had
//! before it, and the number of one that is gone leads nowhere.

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
}

impl Numbers {
    fn at(&self, place: usize) -> ExportId {
        match &self.0 {
            None => ExportId::from_index(place),
            Some(numbered) => numbered.of.get(place).copied().unwrap_or(ExportId::NONE),
        }
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
    /// interface or another version of it on the same track, keeps its number. Every other one gets a number of its own.
    ///
    /// ```
    /// use airssys_wasm::Surface;
    /// let before = Surface::from_wit("package a:b@0.1.0; interface i { g: func(); h: func(); }")?;
    /// let after = Surface::from_wit("package a:b@0.1.1; interface i { f: func(); h: func(); }")?;
    /// let after = after.numbered_after(&before);
    /// assert_eq!(after.export("i#h")?, before.export("i#h")?);
    /// assert!(after.export_function(before.export("i#g")?).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn numbered_after(&self, before: &Surface) -> Surface {
        let known: Vec<_> = before.export_functions().collect();
        let mut given = before.numbers_given();
        let mut next = || {
            let id = ExportId::from_index(given);
            given = given.saturating_add(1);
            id
        };
        let numbers: Box<[_]> = self
            .export_functions()
            .map(|(_, name, function)| same(&known, name, function).unwrap_or_else(&mut next))
            .collect();
        let in_order = numbers.iter().enumerate();
        let plain = given == numbers.len() && in_order.into_iter().all(|(at, id)| id.index() == at);
        let numbered = Numbered { of: numbers, given };
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

/// The number that this function had, if it was there.
fn same(
    known: &[(ExportId, &InterfaceName, &Function)],
    name: &InterfaceName,
    function: &Function,
) -> Option<ExportId> {
    let fits = |before: &InterfaceName| {
        before == name || (before.unversioned() == name.unversioned() && before.accepts(name))
    };
    let mut same = known.iter().filter(|(_, interface, before)| {
        before.name == function.name && fits(interface) && before.ty.same_shape(&function.ty)
    });
    let first = same.next()?;
    // An exact name wins over one that it stands in for.
    let exact = same.find(|(_, interface, _)| *interface == name);
    Some(match exact {
        Some((id, ..)) if first.1 != name => *id,
        _ => first.0,
    })
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
        // `g` comes back: the number it had is not given again, and `x` keeps its own.
        let three = surface("package a:b; interface i { g: func(); x: func(); }");
        let three = three.numbered_after(&two);
        assert_eq!(numbers(&three), as_text(&[("g", 4), ("x", 3)]));
        let x = three.export_function(three.export("x").unwrap()).unwrap().1;
        assert_eq!(x.name, "x");
        for gone in [0, 1, 2, 5, 1_000] {
            assert!(three.export_function(ExportId::from_index(gone)).is_none());
        }
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
    }

    #[test]
    fn the_same_surface_is_numbered_as_before() {
        let one = surface("package a:b; interface i { f: func(); g: func(); }");
        assert_eq!(one.numbered_after(&one), one);
        assert_eq!(one.numbered_after(&Surface::default()), one);
    }
}
