//! How a guest learns that a linked call failed.
//!
//! A function that returns `result<_, E>` can be told, if the link says how `E` carries it; any other guest is
//! ended, because there is no value that means "no answer". What a link says is checked against `E` once, when
//! the template is linked.

use crate::args::Args;
use crate::fault::{EndedByHost, MESSAGE_BYTES_MAX};
use crate::outbound::LinkFailure;
use crate::printable::printable;
use crate::value::Value;
use crate::wit::{FunctionType, WitType};

/// How the error type of a linked import carries a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorCarry {
    /// The error type is `string`: it becomes the failure in words.
    Text,
    /// The error type is a variant or enum with this case; a case with a `string` carries the failure in words.
    Case(String),
}

/// An [`ErrorCarry`] resolved against one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Carry {
    /// The guest cannot be told; it ends.
    #[default]
    Trap,
    Text,
    Variant {
        case: u32,
        text: bool,
    },
    Enum {
        case: u32,
    },
}

impl Carry {
    /// Resolves what a link says for one function; the error says what the function's type has instead.
    pub(crate) fn resolve(said: Option<&ErrorCarry>, ty: &FunctionType) -> Result<Self, String> {
        let (Some(said), Some(WitType::Result { err, .. })) = (said, &ty.result) else {
            // Functions of the interface that return no result have nothing to say it with.
            return Ok(Self::Trap);
        };
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        match (said, err.as_deref()) {
            (ErrorCarry::Text, Some(WitType::String)) => Ok(Self::Text),
            (ErrorCarry::Case(name), Some(WitType::Variant(cases))) => {
                match cases
                    .iter()
                    .enumerate()
                    .find(|(_, case)| *case.name == **name)
                {
                    Some((at, case)) => match &case.ty {
                        None => Ok(Self::Variant {
                            case: place(at),
                            text: false,
                        }),
                        Some(WitType::String) => Ok(Self::Variant {
                            case: place(at),
                            text: true,
                        }),
                        Some(other) => {
                            Err(format!("its case `{name}` carries `{other}`, not a string"))
                        }
                    },
                    None => Err(format!("its error type has no case `{name}`")),
                }
            }
            (ErrorCarry::Case(name), Some(WitType::Enum(cases))) => {
                match cases.iter().position(|case| **case == **name) {
                    Some(at) => Ok(Self::Enum { case: place(at) }),
                    None => Err(format!("its error type has no case `{name}`")),
                }
            }
            (ErrorCarry::Text, other) => {
                Err(format!("its error type is {}, not `string`", named(other)))
            }
            (ErrorCarry::Case(_), other) => Err(format!(
                "its error type is {}, not a variant or enum",
                named(other)
            )),
        }
    }

    /// Turns a failure into the guest's `Err`, or into the error that ends the guest.
    pub(crate) fn tell(
        self,
        failure: LinkFailure,
        function: impl FnOnce() -> String,
    ) -> wasmtime::Result<Args> {
        let text = |failure: &LinkFailure| {
            Value::String(printable(&failure.to_string(), MESSAGE_BYTES_MAX).into())
        };
        let error = match self {
            Self::Trap => {
                return Err(EndedByHost::LinkFailed {
                    function: function(),
                    failure,
                }
                .into());
            }
            Self::Text => text(&failure),
            Self::Variant { case, text: true } => {
                Value::Variant(case, Some(Box::new(text(&failure))))
            }
            Self::Variant { case, text: false } => Value::Variant(case, None),
            Self::Enum { case } => Value::Enum(case),
        };
        let mut args = Args::new();
        args.push(Value::Result(Err(Some(Box::new(error)))));
        Ok(args)
    }
}

fn named(ty: Option<&WitType>) -> String {
    ty.map_or_else(|| "empty".to_owned(), |ty| format!("`{ty}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::LinkFailureReason;
    use crate::surface::Surface;

    fn resolved(result: &str, said: &ErrorCarry) -> Result<Carry, String> {
        let wit = format!(
            "package a:b; interface i {{
               enum plain {{ no, gone }}
               variant rich {{ gone(string), count(u32), bare }}
               f: func(){result};
             }}"
        );
        let surface = Surface::from_wit(&wit).unwrap();
        let id = surface.export("i#f").unwrap();
        Carry::resolve(Some(said), &surface.export_function(id).unwrap().1.ty)
    }

    fn case(name: &str) -> ErrorCarry {
        ErrorCarry::Case(name.to_owned())
    }

    #[test]
    fn each_error_type_carries_what_it_can() {
        assert_eq!(
            resolved(" -> result<u32, string>", &ErrorCarry::Text),
            Ok(Carry::Text)
        );
        assert_eq!(
            resolved(" -> result<_, rich>", &case("gone")),
            Ok(Carry::Variant {
                case: 0,
                text: true
            })
        );
        assert_eq!(
            resolved(" -> result<_, rich>", &case("bare")),
            Ok(Carry::Variant {
                case: 2,
                text: false
            })
        );
        assert_eq!(
            resolved(" -> result<_, plain>", &case("gone")),
            Ok(Carry::Enum { case: 1 })
        );
    }

    #[test]
    fn what_it_cannot_is_said() {
        for (result, said, why) in [
            (
                " -> result<u32, u8>",
                ErrorCarry::Text,
                "its error type is `u8`, not `string`",
            ),
            (
                " -> result<u32>",
                ErrorCarry::Text,
                "its error type is empty, not `string`",
            ),
            (
                " -> result<_, rich>",
                case("lost"),
                "its error type has no case `lost`",
            ),
            (
                " -> result<_, rich>",
                case("count"),
                "its case `count` carries `u32`, not a string",
            ),
            (
                " -> result<_, string>",
                case("gone"),
                "its error type is `string`, not a variant or enum",
            ),
        ] {
            assert_eq!(resolved(result, &said).unwrap_err(), why);
        }
    }

    #[test]
    fn a_function_without_a_result_ends_its_guest() {
        assert_eq!(resolved("", &ErrorCarry::Text), Ok(Carry::Trap));
        let failure = LinkFailure {
            reason: LinkFailureReason::Deadline,
            message: "after 5 s".to_owned(),
        };
        let error = Carry::Trap
            .tell(failure, || "a:b/i#f".to_owned())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "linked call to a:b/i#f failed: deadline: after 5 s"
        );
    }
}
