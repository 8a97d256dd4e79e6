//! WIT types read off a compiled component.
//!
//! Types come as indices into shared tables, so a small description can expand without bound: every function
//! gets a budget of [`FUNCTION_TYPE_BYTES_MAX`], and the whole component [`COMPONENT_TYPE_BYTES_MAX`], names of parameters
//! included. A parameter or result that is over budget becomes one [`WitType::Other`], which can be shown but not called or
//! linked, and loses its name.

use std::sync::Arc;

use wasmtime::component::ResourceType;
use wasmtime::component::types::{ComponentFunc, Type};

use super::{
    Case, Field, FunctionType, ResourceName, ResourceSide, TYPE_DEPTH_MAX, TYPE_NODES_MAX, WitType,
};
use crate::surface::InterfaceName;

/// Bytes of one function's expanded types: [`TYPE_NODES_MAX`] nodes without names.
const FUNCTION_TYPE_BYTES_MAX: usize = TYPE_NODES_MAX * NODE_TYPE_BYTES;

/// Bytes of the expanded types of all functions of one component; real ones need some kilobytes.
const COMPONENT_TYPE_BYTES_MAX: usize = 32 << 20;

/// Resources that are known by their names, which are looked for one after the other; real components have some tens.
const RESOURCES_MAX: usize = 4_096;

/// What a node or a member costs beside its name.
const NODE_TYPE_BYTES: usize = 40;

fn over_budget() -> WitType {
    WitType::Other(
        format!("a type of over {TYPE_NODES_MAX} parts, or {TYPE_DEPTH_MAX} levels").into(),
    )
}

/// Builds types by reflection, knowing the names of the component's resources.
pub(crate) struct ReflectedTypes {
    resources: Vec<(ResourceType, Arc<ResourceName>)>,
    left_in_component: usize,
    left_in_function: usize,
    left_in_depth: usize,
}

impl ReflectedTypes {
    pub(crate) fn new() -> Self {
        Self {
            resources: Vec::new(),
            left_in_component: COMPONENT_TYPE_BYTES_MAX,
            left_in_function: 0,
            left_in_depth: TYPE_DEPTH_MAX,
        }
    }

    /// Remembers where a resource is declared, which is where it is met first; returns that place.
    pub(crate) fn name_resource(
        &mut self,
        ty: ResourceType,
        interface: &InterfaceName,
        name: &str,
        side: ResourceSide,
    ) -> Arc<ResourceName> {
        if let Some(known) = self.named(&ty) {
            return known;
        }
        let declared = ResourceName::new(interface, name, side);
        if self.resources.len() < RESOURCES_MAX {
            self.resources.push((ty, Arc::clone(&declared)));
        }
        declared
    }

    pub(crate) fn function(&mut self, function: &ComponentFunc) -> FunctionType {
        self.left_in_function = FUNCTION_TYPE_BYTES_MAX;
        FunctionType {
            params: function
                .params()
                .map(|(name, ty)| match self.charge(name.len()) {
                    Some(()) => (name.to_owned(), self.bounded(&ty)),
                    None => (String::new(), over_budget()),
                })
                .collect(),
            result: function.results().next().map(|ty| self.bounded(&ty)),
            is_async: function.async_(),
        }
    }

    fn bounded(&mut self, ty: &Type) -> WitType {
        self.convert(ty).unwrap_or_else(over_budget)
    }

    /// Expands a type one level down; `None` once a budget is spent.
    fn convert(&mut self, ty: &Type) -> Option<WitType> {
        self.charge(0)?;
        self.left_in_depth = self.left_in_depth.checked_sub(1)?;
        let converted = self.expand(ty);
        self.left_in_depth = self.left_in_depth.saturating_add(1);
        converted
    }

    fn expand(&mut self, ty: &Type) -> Option<WitType> {
        Some(match ty {
            Type::Bool => WitType::Bool,
            Type::S8 => WitType::S8,
            Type::U8 => WitType::U8,
            Type::S16 => WitType::S16,
            Type::U16 => WitType::U16,
            Type::S32 => WitType::S32,
            Type::U32 => WitType::U32,
            Type::S64 => WitType::S64,
            Type::U64 => WitType::U64,
            Type::Float32 => WitType::F32,
            Type::Float64 => WitType::F64,
            Type::Char => WitType::Char,
            Type::String => WitType::String,
            Type::List(list) => WitType::List(Arc::new(self.convert(&list.ty())?)),
            Type::Record(record) => WitType::Record(
                record
                    .fields()
                    .map(|field| {
                        Some(Field {
                            name: self.name(field.name)?,
                            ty: self.convert(&field.ty)?,
                        })
                    })
                    .collect::<Option<_>>()?,
            ),
            Type::Tuple(tuple) => WitType::Tuple(
                tuple
                    .types()
                    .map(|ty| self.convert(&ty))
                    .collect::<Option<_>>()?,
            ),
            Type::Variant(variant) => WitType::Variant(
                variant
                    .cases()
                    .map(|case| {
                        Some(Case {
                            name: self.name(case.name)?,
                            ty: self.optional(case.ty)?,
                        })
                    })
                    .collect::<Option<_>>()?,
            ),
            Type::Enum(names) => WitType::Enum(self.names(names.names())?),
            Type::Flags(names) => WitType::Flags(self.names(names.names())?),
            Type::Option(option) => WitType::Option(Arc::new(self.convert(&option.ty())?)),
            Type::Result(result) => WitType::Result {
                ok: self.optional(result.ok())?.map(Arc::new),
                err: self.optional(result.err())?.map(Arc::new),
            },
            Type::Own(resource) => WitType::Own(self.resource(resource)),
            Type::Borrow(resource) => WitType::Borrow(self.resource(resource)),
            Type::Future(_) => WitType::Future,
            Type::Stream(_) => WitType::Stream,
            Type::ErrorContext => WitType::Other("error-context".into()),
            Type::Map(_) => WitType::Other("map".into()),
            Type::FixedLengthList(list) => WitType::Other(
                format!("list<{}, {}>", self.convert(&list.ty())?, list.len()).into(),
            ),
        })
    }

    /// Takes one node with a name of `name_bytes` out of both budgets; `None` once either is spent.
    fn charge(&mut self, name_bytes: usize) -> Option<()> {
        let cost = name_bytes.saturating_add(NODE_TYPE_BYTES);
        self.left_in_function = self.left_in_function.saturating_sub(cost);
        self.left_in_component = self.left_in_component.saturating_sub(cost);
        (self.left_in_function > 0 && self.left_in_component > 0).then_some(())
    }

    /// Expands a payload that may be absent; the outer `Option` is the budget.
    fn optional(&mut self, ty: Option<Type>) -> Option<Option<WitType>> {
        match ty {
            Some(ty) => self.convert(&ty).map(Some),
            None => Some(None),
        }
    }

    fn name(&mut self, name: &str) -> Option<Box<str>> {
        self.charge(name.len())?;
        Some(name.into())
    }

    fn names<'n>(&mut self, names: impl Iterator<Item = &'n str>) -> Option<Arc<[Box<str>]>> {
        names.map(|name| self.name(name)).collect()
    }

    fn resource(&self, ty: &ResourceType) -> Arc<ResourceName> {
        self.named(ty).unwrap_or_else(|| {
            // Every resource of a signature is imported or exported somewhere before it.
            ResourceName::new(&InterfaceName::new(""), "resource", ResourceSide::Imported)
        })
    }

    fn named(&self, ty: &ResourceType) -> Option<Arc<ResourceName>> {
        self.resources
            .iter()
            .find(|(known, _)| known == ty)
            .map(|(_, name)| Arc::clone(name))
    }
}
