//! WIT types read off WIT text.
//!
//! The text is the host program's own (native actors describe their exports with it), not a guest's. Named
//! types are converted once and shared.

use std::collections::HashMap;
use std::sync::Arc;

use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind, TypeId, TypeOwner};

use super::{Case, Field, FunctionType, ResourceName, ResourceSide, WitType};
use crate::surface::InterfaceName;

/// Converts types of one resolved WIT document.
pub(crate) struct ParsedTypes<'a> {
    resolve: &'a Resolve,
    known: HashMap<TypeId, WitType>,
}

impl<'a> ParsedTypes<'a> {
    pub(crate) fn new(resolve: &'a Resolve) -> Self {
        Self {
            resolve,
            known: HashMap::new(),
        }
    }

    pub(crate) fn function(&mut self, function: &Function) -> FunctionType {
        FunctionType {
            params: function
                .params
                .iter()
                .map(|param| (param.name.clone(), self.convert(&param.ty)))
                .collect(),
            result: function.result.as_ref().map(|ty| self.convert(ty)),
            is_async: function.kind.is_async(),
        }
    }

    fn convert(&mut self, ty: &Type) -> WitType {
        match ty {
            Type::Bool => WitType::Bool,
            Type::S8 => WitType::S8,
            Type::U8 => WitType::U8,
            Type::S16 => WitType::S16,
            Type::U16 => WitType::U16,
            Type::S32 => WitType::S32,
            Type::U32 => WitType::U32,
            Type::S64 => WitType::S64,
            Type::U64 => WitType::U64,
            Type::F32 => WitType::F32,
            Type::F64 => WitType::F64,
            Type::Char => WitType::Char,
            Type::String => WitType::String,
            Type::ErrorContext => WitType::Other("error-context".into()),
            Type::Id(id) => self.named(*id),
        }
    }

    fn named(&mut self, id: TypeId) -> WitType {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let resolve = self.resolve;
        let Some(definition) = resolve.types.get(id) else {
            return WitType::Other("unknown".into());
        };
        let converted = self.definition(&definition.kind);
        self.known.insert(id, converted.clone());
        converted
    }

    fn definition(&mut self, kind: &TypeDefKind) -> WitType {
        match kind {
            TypeDefKind::Record(record) => WitType::Record(
                record
                    .fields
                    .iter()
                    .map(|field| Field {
                        name: field.name.as_str().into(),
                        ty: self.convert(&field.ty),
                    })
                    .collect(),
            ),
            TypeDefKind::Flags(flags) => WitType::Flags(
                flags
                    .flags
                    .iter()
                    .map(|flag| flag.name.as_str().into())
                    .collect(),
            ),
            TypeDefKind::Tuple(tuple) => {
                WitType::Tuple(tuple.types.iter().map(|ty| self.convert(ty)).collect())
            }
            TypeDefKind::Variant(variant) => WitType::Variant(
                variant
                    .cases
                    .iter()
                    .map(|case| Case {
                        name: case.name.as_str().into(),
                        ty: case.ty.as_ref().map(|ty| self.convert(ty)),
                    })
                    .collect(),
            ),
            TypeDefKind::Enum(names) => WitType::Enum(
                names
                    .cases
                    .iter()
                    .map(|case| case.name.as_str().into())
                    .collect(),
            ),
            TypeDefKind::Option(ty) => WitType::Option(Arc::new(self.convert(ty))),
            TypeDefKind::Result(result) => WitType::Result {
                ok: result.ok.as_ref().map(|ty| Arc::new(self.convert(ty))),
                err: result.err.as_ref().map(|ty| Arc::new(self.convert(ty))),
            },
            TypeDefKind::List(ty) => WitType::List(Arc::new(self.convert(ty))),
            TypeDefKind::Type(ty) => self.convert(ty),
            TypeDefKind::Handle(Handle::Own(id)) => WitType::Own(self.resource(*id)),
            TypeDefKind::Handle(Handle::Borrow(id)) => WitType::Borrow(self.resource(*id)),
            TypeDefKind::Future(_) => WitType::Future,
            TypeDefKind::Stream(_) => WitType::Stream,
            TypeDefKind::FixedLengthList(ty, count) => {
                WitType::Other(format!("list<{}, {count}>", self.convert(ty)).into())
            }
            other => WitType::Other(other.as_str().into()),
        }
    }

    pub(crate) fn resource(&self, id: TypeId) -> Arc<ResourceName> {
        // `use` gives a resource another id, and perhaps another name; its own declaration is what counts.
        let mut definition = self.resolve.types.get(id);
        while let Some(TypeDefKind::Type(Type::Id(of))) =
            definition.map(|definition| &definition.kind)
        {
            definition = self.resolve.types.get(*of);
        }
        let interface = match definition.map(|definition| definition.owner) {
            Some(TypeOwner::Interface(interface)) => self.resolve.id_of(interface),
            _ => None,
        };
        let name = definition.and_then(|definition| definition.name.as_deref());
        ResourceName::new(
            &InterfaceName::new(&interface.unwrap_or_default()),
            name.unwrap_or("resource"),
            ResourceSide::Exported,
        )
    }
}
