//! Whether values fit types, asked before a Store is touched.
//!
//! The check is one pass over the value's nodes and allocates nothing unless it fails. It is what makes
//! "refused, instance unharmed" possible: an error found later, in the middle of lowering, costs the Store.

use super::{FunctionType, ResourceName, WitType};
use crate::args::Args;
use crate::resource::{ResourceHandle, StaleHandle};
use crate::value::Value;

/// A call was refused before the guest was entered; the instance is unharmed and the caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallRefused {
    /// No function has this number; it is of another component's surface.
    #[error("the component has no exported function number {0}")]
    NoSuchFunction(u32),
    /// The wrong number of arguments.
    #[error("expected {expected} argument(s), got {given}: {signature}")]
    Count {
        /// How many the function takes.
        expected: usize,
        /// How many were given.
        given: usize,
        /// The function's type.
        signature: String,
    },
    /// An argument is of another type.
    #[error("argument {position} (`{name}`): {misfit}")]
    Argument {
        /// Which argument, counted from 1.
        position: usize,
        /// The parameter's name.
        name: String,
        /// What does not fit.
        misfit: Misfit,
    },
    /// A result is of another type (asked of a reply, before it is lowered into its caller).
    #[error("result: {0}")]
    Result(Misfit),
    /// A handle among the arguments leads to nothing; the instance has not seen it.
    #[error("a handle to `{resource}` is stale: {why}")]
    StaleHandle {
        /// What it is a handle to.
        resource: String,
        /// Why it leads to nothing.
        why: StaleHandle,
    },
    /// The callee gives away, or holds, as many resources as its limit allows.
    #[error("the callee has {resources_max} resources shared with others, its limit `resources`")]
    Resources {
        /// The limit.
        resources_max: usize,
    },
    /// The callee has as many live handles as its limit `handles` allows, and no room for those among the arguments;
    /// it has seen none of them.
    #[error("the callee has no room for another handle (its limit `handles`): {why}")]
    Handles {
        /// What the engine said.
        why: String,
    },
    /// The signature has a part that cannot travel as data.
    #[error("`{signature}` cannot be called from outside: `{part}` cannot be carried as data")]
    Uncarriable {
        /// The function's type.
        signature: String,
        /// The part that cannot be carried.
        part: String,
    },
}

/// A value that does not fit a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}expected {expected}, found {found}", if path.is_empty() { String::new() } else { format!("at `{path}`: ") })]
#[non_exhaustive]
pub struct Misfit {
    /// Where inside the value: `fields[3].name`; empty for the value itself.
    pub path: String,
    /// The type expected there.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl FunctionType {
    /// Checks that `args` are as many as the parameters and of their types.
    ///
    /// # Errors
    /// [`CallRefused`] naming the first argument that does not fit.
    pub fn accepts(&self, args: &Args) -> Result<(), CallRefused> {
        let values = args.values();
        if values.len() != self.params.len() {
            return Err(CallRefused::Count {
                expected: self.params.len(),
                given: values.len(),
                signature: self.to_string(),
            });
        }
        for (at, (value, (name, ty))) in values.iter().zip(&self.params).enumerate() {
            if is_plain(value, ty) {
                continue;
            }
            fit(value, ty).map_err(|misfit| CallRefused::Argument {
                position: at.saturating_add(1),
                name: name.clone(),
                misfit: misfit.finish(),
            })?;
        }
        Ok(())
    }

    /// Checks that `results` are what this function returns; for replies of native actors.
    ///
    /// # Errors
    /// [`CallRefused`] saying what does not fit.
    pub fn accepts_results(&self, results: &Args) -> Result<(), CallRefused> {
        match (results.values(), &self.result) {
            ([], None) => Ok(()),
            ([value], Some(ty)) => {
                fit(value, ty).map_err(|misfit| CallRefused::Result(misfit.finish()))
            }
            (values, result) => Err(CallRefused::Result(Misfit {
                path: String::new(),
                expected: result
                    .as_ref()
                    .map_or_else(|| "no value".to_owned(), ToString::to_string),
                found: format!("{} value(s)", values.len()),
            })),
        }
    }
}

/// A misfit on its way up, collecting where it happened, innermost first.
struct Found {
    steps: Vec<String>,
    expected: String,
    found: String,
}

impl Found {
    fn at(mut self: Box<Self>, step: impl FnOnce() -> String) -> Box<Self> {
        self.steps.push(step());
        self
    }

    fn finish(self) -> Misfit {
        let mut path: String = self.steps.iter().rev().map(String::as_str).collect();
        if path.starts_with('.') {
            path.remove(0);
        }
        Misfit {
            path,
            expected: self.expected,
            found: self.found,
        }
    }
}

#[cold]
fn misfit(ty: &WitType, found: impl Into<String>) -> Result<(), Box<Found>> {
    Err(Box::new(Found {
        steps: Vec::new(),
        expected: ty.to_string(),
        found: found.into(),
    }))
}

fn index(at: usize) -> String {
    format!("[{at}]")
}

/// Whether `value` is of the type `ty`, which has no parts: what most arguments are, seen without a call.
#[inline]
fn is_plain(value: &Value, ty: &WitType) -> bool {
    matches!(
        (ty, value),
        (WitType::Bool, Value::Bool(_))
            | (WitType::S8, Value::S8(_))
            | (WitType::U8, Value::U8(_))
            | (WitType::S16, Value::S16(_))
            | (WitType::U16, Value::U16(_))
            | (WitType::S32, Value::S32(_))
            | (WitType::U32, Value::U32(_))
            | (WitType::S64, Value::S64(_))
            | (WitType::U64, Value::U64(_))
            | (WitType::F32, Value::F32(_))
            | (WitType::F64, Value::F64(_))
            | (WitType::Char, Value::Char(_))
            | (WitType::String, Value::String(_))
    )
}

/// Checks `value` against `ty`.
fn fit(value: &Value, ty: &WitType) -> Result<(), Box<Found>> {
    match (ty, value) {
        (ty, value) if is_plain(value, ty) => Ok(()),
        (WitType::List(element), Value::Bytes(_)) if **element == WitType::U8 => Ok(()),
        (WitType::List(element), Value::List(nodes)) if **element != WitType::U8 => {
            for (at, node) in nodes.iter().enumerate() {
                fit(node, element).map_err(|found| found.at(|| index(at)))?;
            }
            Ok(())
        }
        (WitType::Record(fields), Value::Record(nodes)) if fields.len() == nodes.len() => {
            for (field, node) in fields.iter().zip(nodes) {
                fit(node, &field.ty).map_err(|found| found.at(|| format!(".{}", field.name)))?;
            }
            Ok(())
        }
        (WitType::Record(_), Value::Record(nodes)) => {
            misfit(ty, format!("a record of {} field(s)", nodes.len()))
        }
        (WitType::Tuple(types), Value::Tuple(nodes)) if types.len() == nodes.len() => {
            for (at, (ty, node)) in types.iter().zip(nodes).enumerate() {
                fit(node, ty).map_err(|found| found.at(|| index(at)))?;
            }
            Ok(())
        }
        (WitType::Tuple(_), Value::Tuple(nodes)) => {
            misfit(ty, format!("a tuple of {}", nodes.len()))
        }
        (WitType::Variant(cases), Value::Variant(case, payload)) => {
            match usize::try_from(*case).ok().and_then(|at| cases.get(at)) {
                Some(case) => fit_payload(ty, payload.as_deref(), case.ty.as_ref(), &case.name),
                None => misfit(ty, format!("case number {case}")),
            }
        }
        (WitType::Enum(names), Value::Enum(case)) => {
            if usize::try_from(*case).is_ok_and(|at| at < names.len()) {
                Ok(())
            } else {
                misfit(ty, format!("case number {case}"))
            }
        }
        (WitType::Flags(names), Value::Flags(words)) => {
            if flags_fit(names.len(), words) {
                Ok(())
            } else {
                misfit(ty, "flags that the type does not have")
            }
        }
        (WitType::Option(_), Value::Option(None)) => Ok(()),
        (WitType::Option(ty), Value::Option(Some(value))) => fit(value, ty),
        (WitType::Result { ok, .. }, Value::Result(Ok(payload))) => {
            fit_payload(ty, payload.as_deref(), ok.as_deref(), "ok")
        }
        (WitType::Result { err, .. }, Value::Result(Err(payload))) => {
            fit_payload(ty, payload.as_deref(), err.as_deref(), "err")
        }
        (WitType::Own(resource), Value::Handle(handle)) => {
            fit_handle(ty, handle, resource, handle.is_own())
        }
        (WitType::Borrow(resource), Value::Handle(handle)) => {
            fit_handle(ty, handle, resource, !handle.is_own())
        }
        _ => misfit(ty, value.kind()),
    }
}

fn fit_handle(
    ty: &WitType,
    handle: &ResourceHandle,
    resource: &ResourceName,
    right_mode: bool,
) -> Result<(), Box<Found>> {
    if right_mode && handle.resource().is_some_and(|found| **found == *resource) {
        Ok(())
    } else {
        misfit(ty, handle.to_string())
    }
}

fn fit_payload(
    whole: &WitType,
    payload: Option<&Value>,
    ty: Option<&WitType>,
    case: &str,
) -> Result<(), Box<Found>> {
    match (payload, ty) {
        (None, None) => Ok(()),
        (Some(value), Some(ty)) => fit(value, ty).map_err(|found| found.at(|| format!(".{case}"))),
        (Some(_), None) => misfit(whole, format!("case `{case}` with a payload")),
        (None, Some(_)) => misfit(whole, format!("case `{case}` without its payload")),
    }
}

/// Exactly the words the type needs, and no bit past its last flag.
fn flags_fit(count: usize, words: &[u32]) -> bool {
    let spare = match u32::try_from(count % 32) {
        Ok(0) | Err(_) => 0,
        Ok(used) => u32::MAX << used,
    };
    words.len() == count.div_ceil(32) && words.last().is_none_or(|word| word & spare == 0)
}
