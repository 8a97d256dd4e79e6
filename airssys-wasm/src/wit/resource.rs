//! The name of a resource type: what a handle is a handle to.
//!
//! A component model resource has no structure to compare, only an identity. Between two components that identity
//! is where the resource is declared and what it is called there, so this is what links are checked by.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::WitType;
use crate::surface::InterfaceName;

/// Which side of a surface declares a resource type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceSide {
    /// Somebody else's: the component holds proxies, or the host's own handles.
    Imported,
    /// The component's own: its instances make them and destroy them.
    Exported,
}

/// A resource type of one surface.
///
/// Two are equal if they have the same name in the same interface, in versions of one compatibility track
/// ([`InterfaceName::accepts`]); which side declares them does not count, since a link joins two sides.
#[derive(Clone, Debug)]
pub struct ResourceName {
    interface: InterfaceName,
    name: Box<str>,
    side: ResourceSide,
}

impl ResourceName {
    pub(crate) fn new(interface: &InterfaceName, name: &str, side: ResourceSide) -> Arc<Self> {
        Arc::new(Self {
            interface: interface.clone(),
            name: name.into(),
            side,
        })
    }

    /// Returns the interface that declares it.
    #[must_use]
    pub fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// Returns its name within the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns which side of its surface declares it.
    #[must_use]
    pub fn side(&self) -> ResourceSide {
        self.side
    }
}

impl PartialEq for ResourceName {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.interface.accepts(&other.interface)
    }
}

impl Eq for ResourceName {}

impl Display for ResourceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl WitType {
    /// Returns whether values of this type can hold handles.
    #[must_use]
    pub fn has_handles(&self) -> bool {
        self.find_handle(&mut |_| true).is_some()
    }

    /// Returns the first resource in this type of which `wanted` holds.
    pub(crate) fn find_handle<'a>(
        &'a self,
        wanted: &mut dyn FnMut(&ResourceName) -> bool,
    ) -> Option<&'a Arc<ResourceName>> {
        match self {
            WitType::Own(name) | WitType::Borrow(name) => wanted(name).then_some(name),
            WitType::List(ty) | WitType::Option(ty) => ty.find_handle(wanted),
            WitType::Record(fields) => fields.iter().find_map(|field| field.ty.find_handle(wanted)),
            WitType::Tuple(types) => types.iter().find_map(|ty| ty.find_handle(wanted)),
            WitType::Variant(cases) => cases
                .iter()
                .find_map(|case| case.ty.as_ref()?.find_handle(wanted)),
            WitType::Result { ok, err } => [ok, err]
                .into_iter()
                .flatten()
                .find_map(|ty| ty.find_handle(wanted)),
            _ => None,
        }
    }
}
