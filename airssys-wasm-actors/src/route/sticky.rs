//! By whose value a request is routed: one parameter, wherever it stands in each function.
//!
//! Owns the table of places, made once for a split, which only requests of a split that is sticky read; and the one rule of which
//! parameter is meant, which plans follow too. Both revisions may say its name: arguments travel by position, and what one of them calls
//! `user` is that in the other, whatever it is called there.

use airssys_wasm::{Args, ExportId, FunctionType, Surface, Value};

/// Where a parameter stands in two functions that can take each other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Neither has it.
    Nowhere,
    /// Here, counted from 0.
    At(usize),
    /// In different places: they are two parameters. It is the first one's here.
    Apart(usize),
}

impl Standing {
    pub(crate) fn of(
        parameter: &str,
        function: &FunctionType,
        other: Option<&FunctionType>,
    ) -> Self {
        let place = |function: &FunctionType| {
            let mut params = function.params.iter();
            params.position(|(name, _)| name == parameter)
        };
        match (place(function), other.and_then(place)) {
            (None, None) => Self::Nowhere,
            (Some(one), Some(other)) if one != other => Self::Apart(one),
            (Some(at), _) | (None, Some(at)) => Self::At(at),
        }
    }
}

/// The place of a parameter in each function of an actor, by the function's number.
#[derive(Debug, Default)]
pub(super) struct Places(Box<[Option<usize>]>);

impl Places {
    /// Where it stands in the functions of `stable`, which has each of them in common with `candidate`.
    pub(super) fn of(parameter: &str, stable: &Surface, candidate: &Surface) -> Self {
        let mut places = vec![None; stable.numbers_given()];
        for (export, _, function) in stable.export_functions() {
            let other = candidate.export_function(export);
            let other = other.map(|(_, other)| &other.ty);
            if let Some(place) = places.get_mut(export.index()) {
                *place = match Standing::of(parameter, &function.ty, other) {
                    Standing::Nowhere => None,
                    Standing::At(at) | Standing::Apart(at) => Some(at),
                };
            }
        }
        Self(places.into())
    }

    /// Whether no function has it.
    pub(super) fn are_none(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The value that decides, if the function has the parameter.
    pub(super) fn key<'a>(&self, export: ExportId, args: &'a Args) -> Option<&'a Value> {
        let place = (*self.0.get(export.index())?)?;
        args.values().get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(functions: &str) -> Surface {
        Surface::from_wit(&format!("package a:b; interface i {{ {functions} }}")).unwrap()
    }

    #[test]
    fn a_parameter_has_its_own_place_in_each_function() {
        let old = "get: func(user: u32); put: func(item: u32, user: u32); \
                   all: func(); see: func(who: u32); swap: func(user: u32, item: u32);";
        let new = "all: func(); get: func(person: u32); put: func(item: u32, user: u32); \
                   see: func(user: u32); swap: func(item: u32, user: u32);";
        let old = surface(old);
        let new = surface(new).numbered_after(&old);
        let places = Places::of("user", &old, &new);
        let args = [Value::U32(10), Value::U32(11)]
            .into_iter()
            .collect::<Args>();
        let key = |function: &str| {
            let export = old.export(&format!("a:b/i#{function}")).unwrap();
            places.key(export, &args).cloned()
        };
        let (first, second) = (Some(Value::U32(10)), Some(Value::U32(11)));
        let keys = ["get", "put", "all", "see", "swap"].map(key);
        assert_eq!(keys, [first.clone(), second, None, first.clone(), first]);
        assert!(!places.are_none());
        assert!(Places::of("usr", &old, &new).are_none());
        assert_eq!(places.key(ExportId::NONE, &args), None);
    }
}
