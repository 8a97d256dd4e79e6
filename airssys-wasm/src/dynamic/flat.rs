//! How many flat values a type takes in the canonical ABI, from its WIT type.
//!
//! Only chooses which [`ImportParams`](super::abi::ImportParams) an import is defined with. wasmtime counts again from
//! the component's own type, and refuses to link on a difference; soundness does not rest on this.

use crate::wit::WitType;

/// Flat values of a list of parameters or results.
pub(super) fn flat_count<'a>(types: impl IntoIterator<Item = &'a WitType>) -> usize {
    types
        .into_iter()
        .fold(0, |sum, ty| sum.saturating_add(of(ty)))
}

fn of(ty: &WitType) -> usize {
    match ty {
        WitType::String | WitType::List(_) => 2,
        WitType::Record(fields) => flat_count(fields.iter().map(|field| &field.ty)),
        WitType::Tuple(types) => flat_count(types.iter()),
        WitType::Flags(names) => names.len().div_ceil(32),
        WitType::Variant(cases) => cases_of(cases.iter().map(|case| case.ty.as_ref())),
        WitType::Option(ty) => cases_of([Some(&**ty)]),
        WitType::Result { ok, err } => cases_of([ok.as_deref(), err.as_deref()]),
        _ => 1,
    }
}

/// The discriminant, and slots shared by all payloads.
fn cases_of<'a>(payloads: impl IntoIterator<Item = Option<&'a WitType>>) -> usize {
    let widest = payloads.into_iter().flatten().map(of).max().unwrap_or(0);
    widest.saturating_add(1)
}
