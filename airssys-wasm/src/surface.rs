//! What a component imports and exports: interfaces, functions, WIT types.
//!
//! Owns: [`Surface`] and the numbers by which calls name functions ([`ExportId`], [`ImportId`]). It is read off a
//! compiled component, or off WIT text for an actor written in Rust, and compared when links are made.
//!
//! Costs: built once a component; a lookup by path scans the functions, so resolve a path once and keep the
//! number, which every call then uses.
//!
//! Deliberately absent: modules, nested components and instances inside instances; nothing here can call them.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::wit::{FunctionType, ParsedTypes, ReflectedTypes, ResourceName, ResourceSide};

mod lookup;
mod name;
mod numbers;

pub use lookup::NoSuchFunction;
pub(crate) use lookup::nearest;
pub use name::InterfaceName;
use numbers::Numbers;

/// The imports and exports of one component, in the order it declares them.
///
/// Functions that belong to no interface are in an [`Interface`] with the empty name, which comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// What the component needs.
    pub imports: Vec<Interface>,
    /// What the component offers.
    pub exports: Vec<Interface>,
    numbers: Numbers,
}

/// A named set of functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The interface's name; empty for functions at the root.
    pub name: InterfaceName,
    /// Its functions, in order.
    pub functions: Vec<Function>,
    /// Its resources.
    pub resources: Vec<InterfaceResource>,
}

/// A resource of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceResource {
    /// The resource's name within its interface.
    pub name: String,
    /// Where it is declared: this interface, or the one it is used from.
    pub ty: Arc<ResourceName>,
}

/// A function of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The function's name within its interface.
    pub name: String,
    /// Its type.
    pub ty: FunctionType,
}

/// The number of an exported function: its place among all functions of all exports of one [`Surface`], or the one that
/// the function had in the surface before it ([`Surface::numbered_after`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportId(u32);

impl ExportId {
    /// No function: no surface has one of this number.
    pub const NONE: Self = Self(u32::MAX);
}

/// The number of an imported function: its place among all functions of all imports of one [`Surface`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImportId(u32);

macro_rules! ids {
    ($($id:ident,)*) => {$(
        impl $id {
            pub(crate) fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }

            /// Returns the function's place, counted from 0; useful as an index into a table of one's own.
            #[must_use]
            pub fn index(self) -> usize {
                usize::try_from(self.0).unwrap_or(usize::MAX)
            }
        }

        impl Display for $id {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! { ExportId, ImportId, }

/// WIT text could not be read.
#[derive(Debug, thiserror::Error)]
#[error("not valid WIT: {0}")]
pub struct WitError(String);

impl Surface {
    /// A surface of these interfaces, its functions numbered in order.
    #[must_use]
    pub fn new(imports: Vec<Interface>, exports: Vec<Interface>) -> Self {
        Self {
            imports,
            exports,
            numbers: Numbers::default(),
        }
    }

    /// Reads the surface of a compiled component.
    pub(crate) fn of(component: &wasmtime::component::Component) -> Surface {
        let engine = component.engine();
        let ty = component.component_type();
        let mut types = ReflectedTypes::new();
        Surface {
            imports: interfaces(
                ty.imports(engine).map(|(name, item)| (name, item.ty)),
                engine,
                ResourceSide::Imported,
                &mut types,
            ),
            exports: interfaces(
                ty.exports(engine).map(|(name, item)| (name, item.ty)),
                engine,
                ResourceSide::Exported,
                &mut types,
            ),
            numbers: Numbers::default(),
        }
    }

    /// Reads WIT text of one package; every interface in it becomes an export.
    ///
    /// This is how an actor written in Rust says what it offers. The text may hold further packages that the
    /// first one uses; those become no exports.
    ///
    /// # Errors
    /// [`WitError`] with the place and what is wrong there.
    ///
    /// ```
    /// use airssys_wasm::Surface;
    /// let surface = Surface::from_wit(
    ///     "package quakes:app@0.1.0; interface sink { put: func(line: string); }",
    /// )?;
    /// assert!(surface.export("sink#put").is_ok());
    /// # Ok::<(), airssys_wasm::WitError>(())
    /// ```
    pub fn from_wit(wit: &str) -> Result<Surface, WitError> {
        let mut resolve = wit_parser::Resolve::default();
        let package = match resolve.push_source("wit", wit) {
            Ok(package) => package,
            Err(error) => return Err(WitError(resolve.render_error(&error))),
        };
        let mut types = ParsedTypes::new(&resolve);
        let mut exports = Vec::new();
        let ids = resolve
            .packages
            .get(package)
            .map(|package| package.interfaces.values());
        for id in ids.into_iter().flatten() {
            let (Some(interface), Some(name)) = (resolve.interfaces.get(*id), resolve.id_of(*id))
            else {
                continue;
            };
            exports.push(Interface {
                name: InterfaceName::new(&name),
                functions: interface
                    .functions
                    .values()
                    .map(|function| Function {
                        name: function.name.clone(),
                        ty: types.function(function),
                    })
                    .collect(),
                resources: interface
                    .types
                    .iter()
                    .filter(|(_, id)| {
                        resolve.types.get(**id).is_some_and(|definition| {
                            matches!(definition.kind, wit_parser::TypeDefKind::Resource)
                        })
                    })
                    .map(|(name, id)| InterfaceResource {
                        name: name.clone(),
                        ty: types.resource(*id),
                    })
                    .collect(),
            });
        }
        Ok(Surface::new(Vec::new(), exports))
    }

    /// Returns every exported function with its number, in order.
    pub fn export_functions(
        &self,
    ) -> impl Iterator<Item = (ExportId, &InterfaceName, &Function)> + '_ {
        functions(&self.exports)
            .enumerate()
            .map(|(at, (name, function))| (self.export_at(at), name, function))
    }

    /// Returns every imported function with its number, in order.
    pub fn import_functions(
        &self,
    ) -> impl Iterator<Item = (ImportId, &InterfaceName, &Function)> + '_ {
        functions(&self.imports)
            .enumerate()
            .map(|(at, (name, function))| (ImportId::from_index(at), name, function))
    }

    /// Returns the exported function of that number.
    #[must_use]
    pub fn export_function(&self, id: ExportId) -> Option<(&InterfaceName, &Function)> {
        function_at(&self.exports, self.numbers.place_of(id)?)
    }

    /// Returns the imported function of that number.
    #[must_use]
    pub fn import_function(&self, id: ImportId) -> Option<(&InterfaceName, &Function)> {
        function_at(&self.imports, id.index())
    }

    /// Returns the exported interface that satisfies an import of this name
    /// (see [`InterfaceName::accepts`]); an exact match wins.
    #[must_use]
    pub fn exported_interface(&self, name: &str) -> Option<&Interface> {
        let import = InterfaceName::new(name);
        self.exports
            .iter()
            .find(|interface| interface.name == import)
            .or_else(|| {
                self.exports
                    .iter()
                    .find(|interface| import.accepts(&interface.name))
            })
    }

    /// Returns the imported interface that an export of this name satisfies
    /// (see [`InterfaceName::accepts`]); an exact match wins.
    #[must_use]
    pub fn imported_interface(&self, name: &str) -> Option<&Interface> {
        let export = InterfaceName::new(name);
        self.imports
            .iter()
            .find(|interface| interface.name == export)
            .or_else(|| {
                self.imports
                    .iter()
                    .find(|interface| interface.name.accepts(&export))
            })
    }

    /// Returns whether it exports resources of its own, rather than ones it imports.
    #[must_use]
    pub fn owns_resources(&self) -> bool {
        self.exports
            .iter()
            .flat_map(|interface| &interface.resources)
            .any(|resource| resource.ty.side() == ResourceSide::Exported)
    }

    /// Finds an exported function by path.
    ///
    /// A path is `namespace:package/interface@version#function`; the version, and everything before the
    /// interface's own name, may be left out where that is unambiguous (`parse#parse-feature`), and so may the
    /// interface (`parse-feature`).
    ///
    /// # Errors
    /// [`NoSuchFunction`] with the nearest name, or with the candidates if there are several.
    pub fn export(&self, path: &str) -> Result<ExportId, NoSuchFunction> {
        lookup::export(self, path)
    }
}

/// Pairs each function with its interface's name, in order.
fn functions(interfaces: &[Interface]) -> impl Iterator<Item = (&InterfaceName, &Function)> {
    interfaces.iter().flat_map(|interface| {
        interface
            .functions
            .iter()
            .map(move |function| (&interface.name, function))
    })
}

fn function_at(interfaces: &[Interface], mut at: usize) -> Option<(&InterfaceName, &Function)> {
    for interface in interfaces {
        match interface.functions.get(at) {
            Some(function) => return Some((&interface.name, function)),
            None => at = at.saturating_sub(interface.functions.len()),
        }
    }
    None
}

/// Sorts items into interfaces; functions at the root come first, in one with the empty name.
fn interfaces<'a>(
    items: impl Iterator<Item = (&'a str, wasmtime::component::types::ComponentItem)>,
    engine: &wasmtime::Engine,
    side: ResourceSide,
    types: &mut ReflectedTypes,
) -> Vec<Interface> {
    use wasmtime::component::types::ComponentItem;

    let mut root = Interface {
        name: InterfaceName::new(""),
        functions: Vec::new(),
        resources: Vec::new(),
    };
    let mut named = Vec::new();
    for (name, item) in items {
        match item {
            ComponentItem::ComponentFunc(function) => root.functions.push(Function {
                name: name.to_owned(),
                ty: types.function(&function),
            }),
            ComponentItem::Resource(resource) => {
                let ty = types.name_resource(resource, &root.name, name, side);
                root.resources.push(InterfaceResource {
                    name: name.to_owned(),
                    ty,
                });
            }
            ComponentItem::ComponentInstance(instance) => {
                let mut interface = Interface {
                    name: InterfaceName::new(name),
                    functions: Vec::new(),
                    resources: Vec::new(),
                };
                // Resources first, so that functions declared before them still print their names.
                for (name, item) in instance.exports(engine) {
                    if let ComponentItem::Resource(resource) = item.ty {
                        let ty = types.name_resource(resource, &interface.name, name, side);
                        interface.resources.push(InterfaceResource {
                            name: name.to_owned(),
                            ty,
                        });
                    }
                }
                for (name, item) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(function) = item.ty {
                        interface.functions.push(Function {
                            name: name.to_owned(),
                            ty: types.function(&function),
                        });
                    }
                }
                named.push(interface);
            }
            _ => {}
        }
    }
    if !(root.functions.is_empty() && root.resources.is_empty()) {
        named.insert(0, root);
    }
    named
}

#[cfg(test)]
mod tests;
