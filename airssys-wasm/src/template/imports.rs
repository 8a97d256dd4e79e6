//! Satisfying a component's imports: by a link, by the host, or not at all.
//!
//! An import is answered by the first of: a link the spec names, WASI, our own interfaces. What is left is
//! listed, all of it at once, with what to do.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;

use super::LinkedImport;
use crate::component::{Component, Finding};
use crate::dynamic::{define_import, define_proxy};
use crate::host::HostState;
use crate::host::carry::Carry;
use crate::link::{LinkMismatch, check_link};
use crate::printable::{name, names, printable};
use crate::surface::{Interface, InterfaceName, Surface};
use crate::wit::ResourceName;

/// Why a component cannot be linked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Imports that nothing answers; all of them.
    #[error("nothing provides these imports:{}", lines(.0))]
    Missing(Vec<MissingImport>),
    /// A link is for an interface the component does not import.
    #[error(
        "the component does not import `{}`, so it cannot be linked; it imports {}",
        name(.interface),
        if .imports.is_empty() { "nothing".to_owned() } else { names(.imports, "") }
    )]
    NotImported {
        /// The interface the link names.
        interface: String,
        /// What it imports.
        imports: Vec<String>,
    },
    /// Two links are for the same interface.
    #[error("`{}` is linked twice", name(.0))]
    Twice(String),
    /// A linked interface has something that cannot travel as a message.
    #[error("`{}` cannot be linked: {why}", name(.interface))]
    Unlinkable {
        /// The interface.
        interface: String,
        /// What cannot travel, and in which function.
        why: String,
    },
    /// The error type of linked functions cannot carry a failure the way the link says; all of them.
    #[error("the link of `{}` cannot tell failures as it says:{}", name(.interface), lines(.functions))]
    Carry {
        /// The interface.
        interface: String,
        /// The functions and what their types have instead.
        functions: Vec<CarryMismatch>,
    },
    /// The component imports an interface of the host's with other types than it has.
    #[error("the component was built against another `{}` than this host has: {source}", name(.interface))]
    HostInterface {
        /// The interface.
        interface: String,
        /// What differs.
        source: LinkMismatch,
    },
    /// The component needs more than its limits allow; everything that is known before it runs.
    #[error("the component does not fit its limits:{}", lines(.0))]
    ExceedsLimits(Vec<Finding>),
    /// The component does not fit what the host provides.
    #[error("the component does not fit this host: {0}")]
    Incompatible(String),
}

/// An import that nothing answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingImport {
    /// The interface.
    pub interface: String,
    /// The functions it is imported for.
    pub functions: Vec<String>,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for MissingImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = if self.interface.is_empty() {
            "functions at the root".to_owned()
        } else {
            name(&self.interface)
        };
        let functions = names(&self.functions, "");
        write!(f, "{interface} ({functions}): {}", self.remedy)
    }
}

/// A function whose error type cannot carry a failure the way its link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarryMismatch {
    /// The function.
    pub function: String,
    /// Its type, as WIT.
    pub signature: String,
    /// What does not fit.
    pub why: String,
}

impl fmt::Display for CarryMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = name(&self.function);
        write!(f, "{function}: {} ({})", self.why, self.signature)
    }
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

/// A component with all imports satisfied.
pub(super) struct Linked {
    pub(super) pre: InstancePre<HostState>,
    pub(super) carries: Box<[Carry]>,
    pub(super) proxied: Arc<[Arc<ResourceName>]>,
    /// The linked interfaces.
    pub(super) interfaces: Arc<[InterfaceName]>,
}

pub(super) fn link(component: &Component, links: &[LinkedImport]) -> Result<Linked, LinkError> {
    let surface = component.surface();
    let provided = component.engine().provided();
    let links = resolve(surface, links)?;
    let link_of =
        |name: &InterfaceName| links.iter().find(|(interface, _)| interface.name == *name);

    let mut missing = Vec::new();
    for interface in &surface.imports {
        // An interface of types alone has nothing to answer: its types are compared where they are used.
        let only_types = interface.functions.is_empty() && interface.resources.is_empty();
        if only_types || link_of(&interface.name).is_some() {
            continue;
        }
        if !provided.has(&interface.name) {
            missing.push(missing_import(interface));
        } else if provided
            .ours()
            .exported_interface(interface.name.as_str())
            .is_some()
        {
            check_link(surface, interface.name.as_str(), provided.ours()).map_err(|source| {
                LinkError::HostInterface {
                    interface: interface.name.to_string(),
                    source,
                }
            })?;
        }
    }
    if !missing.is_empty() {
        return Err(LinkError::Missing(missing));
    }

    let proxied = proxied(&links);
    let mut linker = provided.linker();
    let mut carries = vec![Carry::default(); surface.import_functions().count()];
    for (interface, link) in &links {
        refuse_unlinkable(interface, &proxied)?;
        define(&mut linker, surface, interface, &proxied)
            .map_err(|error| LinkError::Incompatible(printable(&format!("{error:#}"), 2_048)))?;
        carry(surface, interface, link, &mut carries)?;
    }
    let pre = linker
        .instantiate_pre(component.raw())
        .map_err(|error| LinkError::Incompatible(printable(&format!("{error:#}"), 2_048)))?;
    Ok(Linked {
        pre,
        carries: carries.into(),
        proxied: proxied.into(),
        interfaces: links
            .iter()
            .map(|(interface, _)| interface.name.clone())
            .collect(),
    })
}

/// The resources the linked interfaces declare, each once.
fn proxied(links: &[(&Interface, &LinkedImport)]) -> Vec<Arc<ResourceName>> {
    let mut proxied: Vec<Arc<ResourceName>> = Vec::new();
    for (interface, _) in links {
        for resource in &interface.resources {
            let declared = *resource.ty.interface() == interface.name;
            if declared && !proxied.contains(&resource.ty) {
                proxied.push(Arc::clone(&resource.ty));
            }
        }
    }
    proxied
}

/// Finds the imported interface each link means.
fn resolve<'a>(
    surface: &'a Surface,
    links: &'a [LinkedImport],
) -> Result<Vec<(&'a Interface, &'a LinkedImport)>, LinkError> {
    let mut resolved: Vec<(&Interface, &LinkedImport)> = Vec::with_capacity(links.len());
    for link in links {
        let name = InterfaceName::new(&link.interface);
        let find = |fits: &dyn Fn(&InterfaceName) -> bool| {
            let mut found = surface
                .imports
                .iter()
                .filter(|interface| fits(&interface.name));
            found.next().filter(|_| found.next().is_none())
        };
        let interface = find(&|import| *import == name)
            .or_else(|| find(&|import| import.accepts(&name)))
            .or_else(|| find(&|import| !name.is_root() && import.unversioned() == name.as_str()))
            .ok_or_else(|| LinkError::NotImported {
                interface: link.interface.clone(),
                imports: surface
                    .imports
                    .iter()
                    .map(|interface| interface.name.to_string())
                    .collect(),
            })?;
        if resolved
            .iter()
            .any(|(other, _)| other.name == interface.name)
        {
            return Err(LinkError::Twice(interface.name.to_string()));
        }
        resolved.push((interface, link));
    }
    Ok(resolved)
}

fn missing_import(interface: &Interface) -> MissingImport {
    let remedy = match interface.name.namespace() {
        Some("wasi") => "this host has no such WASI interface; build the component without it",
        Some("airssys") => {
            "this version of the host has no such interface; build against its `wit/`"
        }
        _ => "link it to an actor that exports it",
    };
    MissingImport {
        interface: interface.name.to_string(),
        functions: interface
            .functions
            .iter()
            .map(|function| function.name.clone())
            .collect(),
        remedy: remedy.to_owned(),
    }
}

fn refuse_unlinkable(
    interface: &Interface,
    proxied: &[Arc<ResourceName>],
) -> Result<(), LinkError> {
    let refuse = |why| {
        Err(LinkError::Unlinkable {
            interface: interface.name.to_string(),
            why,
        })
    };
    let unlinked = |resource: &ResourceName| !proxied.iter().any(|known| **known == *resource);
    let not_linked = |resource: &ResourceName| {
        format!(
            "its resource `{resource}` is declared in `{}`, which is not linked",
            name(resource.interface().as_str())
        )
    };
    let used = interface.resources.iter().map(|resource| &resource.ty);
    if let Some(resource) = { used }.find(|resource| unlinked(resource)) {
        return refuse(not_linked(resource));
    }
    for function in &interface.functions {
        if let Some(resource) = function.ty.find_resource(unlinked) {
            return refuse(not_linked(resource));
        }
        if function.ty.is_async {
            return refuse(format!(
                "`{}` is an async function: {}",
                name(&function.name),
                function.ty
            ));
        }
        if let Some(part) = function.ty.uncarriable() {
            return refuse(format!(
                "`{}` has `{part}`, which cannot be sent: {}",
                name(&function.name),
                function.ty
            ));
        }
    }
    Ok(())
}

fn define(
    linker: &mut wasmtime::component::Linker<HostState>,
    surface: &Surface,
    interface: &Interface,
    proxied: &[Arc<ResourceName>],
) -> wasmtime::Result<()> {
    let mut at = if interface.name.is_root() {
        linker.root()
    } else {
        linker.instance(interface.name.as_str())?
    };
    for resource in &interface.resources {
        let place = proxied.iter().position(|known| *known == resource.ty);
        if let Some(number) = place.and_then(|place| u32::try_from(place).ok()) {
            define_proxy(&mut at, &resource.name, number)?;
        }
    }
    for (id, name, function) in surface.import_functions() {
        if *name == interface.name {
            define_import(&mut at, &function.name, id, &function.ty)?;
        }
    }
    Ok(())
}

fn carry(
    surface: &Surface,
    interface: &Interface,
    link: &LinkedImport,
    carries: &mut [Carry],
) -> Result<(), LinkError> {
    let mut mismatches = Vec::new();
    for (id, name, function) in surface.import_functions() {
        if *name != interface.name {
            continue;
        }
        match (
            Carry::resolve(link.error_as.as_ref(), &function.ty),
            carries.get_mut(id.index()),
        ) {
            (Ok(carry), Some(slot)) => *slot = carry,
            (Ok(_), None) => {}
            (Err(why), _) => mismatches.push(CarryMismatch {
                function: function.name.clone(),
                signature: function.ty.to_string(),
                why,
            }),
        }
    }
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(LinkError::Carry {
            interface: interface.name.to_string(),
            functions: mismatches,
        })
    }
}
