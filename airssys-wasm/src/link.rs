//! Whether one component's exports satisfy another's import: asked when a link is made, before any traffic.
//!
//! Owns: [`check_link`] and its answers, [`LinkTable`] and [`LinkMismatch`]. A pure function over two surfaces; an
//! upgrade is checked with it against every linked caller.
//!
//! Costs: one comparison of types for each function of the import.
//!
//! Deliberately absent: who is linked to whom; that is the actors' business.

use std::fmt::Write as _;

use crate::printable::name;
use crate::surface::{
    ExportId, ImportId, Interface, InterfaceName, InterfaceResource, Surface, nearest,
};

/// Which export answers each function of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTable {
    pairs: Box<[(ImportId, ExportId)]>,
}

impl LinkTable {
    /// Returns the pairs, in the importer's order.
    pub fn pairs(&self) -> &[(ImportId, ExportId)] {
        &self.pairs
    }

    /// Returns the export that answers `import`, if `import` is of the linked interface.
    #[must_use]
    pub fn export_for(&self, import: ImportId) -> Option<ExportId> {
        self.pairs
            .iter()
            .find(|(known, _)| *known == import)
            .map(|(_, export)| *export)
    }
}

/// A link cannot be made. Nothing has been started or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkMismatch {
    /// The importer has no such import.
    #[error("`{}` is not imported{}; imported: {}", name(interface), suggest(nearest.as_deref()), list(imported))]
    NotImported {
        /// The name asked for.
        interface: String,
        /// The import that looks most like it.
        nearest: Option<String>,
        /// All imports.
        imported: Vec<String>,
    },
    /// The exporter has no such export, in any version.
    #[error("`{}` is not exported{}; exported: {}", name(interface), suggest(nearest.as_deref()), list(exported))]
    NotExported {
        /// The interface that is imported.
        interface: String,
        /// The export that looks most like it.
        nearest: Option<String>,
        /// All exports.
        exported: Vec<String>,
    },
    /// The exporter has the interface in versions that do not fit.
    #[error(
        "the import is `{}`, exported is {}: these versions do not fit together",
        name(import),
        list(exported)
    )]
    Version {
        /// The import, with its version.
        import: String,
        /// The exports of the same name, with their versions.
        exported: Vec<String>,
    },
    /// Functions of the import are missing, differ in type, or cannot be carried by a link.
    #[error(
        "import `{}` and export `{}` do not fit: {}",
        name(import),
        name(export),
        report(functions)
    )]
    Functions {
        /// The import.
        import: String,
        /// The export.
        export: String,
        /// Every function that does not fit.
        functions: Vec<FunctionMismatch>,
    },
}

/// One function of an import that an export does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionMismatch {
    /// The export has no function of that name.
    #[error("`{}` is missing, wanted: {wanted}", name(function))]
    Missing {
        /// The function.
        function: String,
        /// Its type in the import, as WIT.
        wanted: String,
    },
    /// The types differ.
    #[error(
        "`{}` differs: imported as {wanted}, exported as {found}",
        name(function)
    )]
    Type {
        /// The function.
        function: String,
        /// Its type in the import, as WIT.
        wanted: String,
        /// Its type in the export, as WIT.
        found: String,
    },
    /// The export has no resource of that name.
    #[error("the resource `{}` is missing", name(resource))]
    Resource {
        /// The resource.
        resource: String,
    },
    /// The type has a part that cannot leave its Store.
    #[error(
        "`{}` cannot be linked: `{part}` in {wanted} cannot be carried between actors",
        name(function)
    )]
    Uncarriable {
        /// The function.
        function: String,
        /// The part that cannot be carried: a future, a stream.
        part: String,
        /// The function's type, as WIT.
        wanted: String,
    },
    /// The function is an `async func`.
    #[error(
        "`{}` cannot be linked: `async func` is not supported in links ({wanted})",
        name(function)
    )]
    Async {
        /// The function.
        function: String,
        /// The function's type, as WIT.
        wanted: String,
    },
}

/// Checks that `exporter` satisfies `importer`'s import of the interface `import`, and pairs their functions.
///
/// `import` names the interface as the importer declares it, or in another version of the same track, or without
/// version if that is unambiguous. The exporter's interface is chosen by [`InterfaceName::accepts`].
///
/// # Errors
/// [`LinkMismatch`], with every function that does not fit.
pub fn check_link(
    importer: &Surface,
    import: &str,
    exporter: &Surface,
) -> Result<LinkTable, LinkMismatch> {
    let (first_import, wanted) = find_import(importer, import)?;
    let (first_export, found) = find_export(exporter, &wanted.name)?;

    let mut pairs = Vec::with_capacity(wanted.functions.len());
    let mut mismatches: Vec<FunctionMismatch> = wanted
        .resources
        .iter()
        .filter(|resource| {
            let offered = |other: &InterfaceResource| other.name == resource.name;
            !found.resources.iter().any(offered)
        })
        .map(|resource| FunctionMismatch::Resource {
            resource: resource.name.clone(),
        })
        .collect();
    for (at, function) in wanted.functions.iter().enumerate() {
        let named = || function.name.clone();
        let text = || function.ty.to_string();
        let partner = found
            .functions
            .iter()
            .position(|candidate| candidate.name == function.name)
            .and_then(|place| Some((place, found.functions.get(place)?)));
        if let Some(part) = function.ty.uncarriable() {
            mismatches.push(FunctionMismatch::Uncarriable {
                function: named(),
                part: part.to_string(),
                wanted: text(),
            });
        } else if function.ty.is_async {
            mismatches.push(FunctionMismatch::Async {
                function: named(),
                wanted: text(),
            });
        } else {
            match partner {
                None => mismatches.push(FunctionMismatch::Missing {
                    function: named(),
                    wanted: text(),
                }),
                Some((_, partner)) if !function.ty.same_shape(&partner.ty) => {
                    mismatches.push(FunctionMismatch::Type {
                        function: named(),
                        wanted: text(),
                        found: partner.ty.to_string(),
                    });
                }
                Some((place, _)) => pairs.push((
                    ImportId::from_index(first_import.saturating_add(at)),
                    exporter.export_at(first_export.saturating_add(place)),
                )),
            }
        }
    }
    if mismatches.is_empty() {
        Ok(LinkTable {
            pairs: pairs.into(),
        })
    } else {
        Err(LinkMismatch::Functions {
            import: wanted.name.to_string(),
            export: found.name.to_string(),
            functions: mismatches,
        })
    }
}

/// Finds the import by name, with the number of its first function.
fn find_import<'a>(
    importer: &'a Surface,
    import: &str,
) -> Result<(usize, &'a Interface), LinkMismatch> {
    let name = InterfaceName::new(import);
    let by = |fits: &dyn Fn(&Interface) -> bool| first_function_of(&importer.imports, fits);
    let mut of_that_name = importer
        .imports
        .iter()
        .filter(|interface| interface.name.unversioned() == import);
    let unversioned = match (of_that_name.next(), of_that_name.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    by(&|interface| interface.name == name)
        .or_else(|| by(&|interface| interface.name.accepts(&name)))
        .or_else(|| by(&|interface| unversioned.is_some_and(|only| only.name == interface.name)))
        .ok_or_else(|| LinkMismatch::NotImported {
            interface: import.to_owned(),
            nearest: nearest(import, importer.imports.iter().map(|i| i.name.as_str()))
                .map(str::to_owned),
            imported: names(&importer.imports),
        })
}

/// Finds the export that satisfies `import`, with the number of its first function.
fn find_export<'a>(
    exporter: &'a Surface,
    import: &InterfaceName,
) -> Result<(usize, &'a Interface), LinkMismatch> {
    if let Some(found) =
        first_function_of(&exporter.exports, &|interface| interface.name == *import).or_else(|| {
            first_function_of(&exporter.exports, &|interface| {
                import.accepts(&interface.name)
            })
        })
    {
        return Ok(found);
    }
    let of_that_name: Vec<String> = exporter
        .exports
        .iter()
        .filter(|interface| interface.name.unversioned() == import.unversioned())
        .map(|interface| interface.name.to_string())
        .collect();
    if of_that_name.is_empty() {
        Err(LinkMismatch::NotExported {
            interface: import.to_string(),
            nearest: nearest(
                import.as_str(),
                exporter.exports.iter().map(|i| i.name.as_str()),
            )
            .map(str::to_owned),
            exported: names(&exporter.exports),
        })
    } else {
        Err(LinkMismatch::Version {
            import: import.to_string(),
            exported: of_that_name,
        })
    }
}

fn first_function_of<'a>(
    interfaces: &'a [Interface],
    fits: &dyn Fn(&Interface) -> bool,
) -> Option<(usize, &'a Interface)> {
    let mut first: usize = 0;
    for interface in interfaces {
        if fits(interface) {
            return Some((first, interface));
        }
        first = first.saturating_add(interface.functions.len());
    }
    None
}

fn names(interfaces: &[Interface]) -> Vec<String> {
    interfaces
        .iter()
        .map(|interface| interface.name.to_string())
        .collect()
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names
            .iter()
            .map(|one| {
                if one.is_empty() {
                    "functions at the root".to_owned()
                } else {
                    format!("`{}`", name(one))
                }
            })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |one| {
        format!(" (did you mean `{}`?)", name(one))
    })
}

fn report(functions: &[FunctionMismatch]) -> String {
    let mut text = String::new();
    for (at, function) in functions.iter().enumerate() {
        let separator = if at == 0 { "" } else { "; " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{function}");
    }
    text
}

#[cfg(test)]
mod tests;
