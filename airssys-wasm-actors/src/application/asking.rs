//! What an application says of itself at the end: its own count, and its tables.
//!
//! Owns the functions that `[report]` names, checked before anything starts, the asking, and the [`Report`].

use std::collections::BTreeMap;

use airssys_wasm::{Args, FunctionType, Surface, Value, WitType};
use toml::Spanned;

use super::options::escaped;
use super::resolving::Resolving;
use super::spawned::not_there;
use crate::address::ActorAddress;
use crate::error::CallError;
use crate::manifest::{FindingKind, suggest};
use crate::reference::function_path;
use crate::source::SourceCounts;
use crate::system::System;

/// The calls of a report.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReportPlan {
    counted: Option<CountedPlan>,
    tables: Vec<TablePlan>,
}

#[derive(Debug, Clone)]
struct CountedPlan {
    question: Question,
    /// The place of the field in the record; `None` if the result itself is the number.
    field: Option<usize>,
}

#[derive(Debug, Clone)]
struct TablePlan {
    title: String,
    question: Question,
    columns: Vec<(String, WitType)>,
}

/// A function without parameters.
#[derive(Debug, Clone)]
struct Question {
    address: ActorAddress,
    function: String,
}

/// What an application has done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Of all sources together.
    pub counts: SourceCounts,
    /// Of each source.
    pub sources: Vec<(ActorAddress, SourceCounts)>,
    /// Items that the application says it counted; without `counted` in the manifest, those answered without error.
    pub counted: u64,
    /// Incarnations started after an actor's first.
    pub restarts: u64,
    /// The actors that were restarted, and how often.
    pub restarted: Vec<(ActorAddress, u64)>,
    /// Casts nobody handled.
    pub dead_letters: u64,
    /// The tables of the manifest.
    pub tables: Vec<ReportTable>,
}

impl Report {
    /// Whether every item that went in is accounted for once: counted, rejected or failed.
    #[must_use]
    pub fn balances(&self) -> bool {
        let out = [self.counted, self.counts.rejected, self.counts.failed];
        out.iter()
            .try_fold(0u64, |sum, count| sum.checked_add(*count))
            == Some(self.counts.events_in)
    }
}

/// One table of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportTable {
    /// Its heading.
    pub title: String,
    /// Names and types of the columns: the record's fields.
    pub columns: Vec<(String, WitType)>,
    /// The records.
    pub rows: Vec<Vec<Value>>,
}

/// A question of the report was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The call failed.
    #[error("`{function}` of `{address}`, which the report asks, did not answer")]
    Call {
        /// Who was asked.
        address: ActorAddress,
        /// The function.
        function: String,
        /// Why.
        #[source]
        why: Box<CallError>,
    },
    /// The answer is of another type than the function's.
    #[error("`{function}` of `{address}`, which the report asks, answered in another type")]
    Answer {
        /// Who was asked.
        address: ActorAddress,
        /// The function.
        function: String,
    },
}

pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    application: Option<&ActorAddress>,
    surfaces: &BTreeMap<&str, &Surface>,
) -> ReportPlan {
    let mut plan = ReportPlan::default();
    let report = &resolving.spec.tables.report;
    if let Some(counted) = &report.counted
        && let Some((question, ty)) = question(
            resolving,
            application,
            surfaces,
            &counted.component,
            &counted.function,
        )
    {
        match &counted.field {
            None if is_count(ty.result.as_ref()) => {
                plan.counted = Some(CountedPlan {
                    question,
                    field: None,
                })
            }
            None => wrong(
                resolving,
                &counted.function,
                &ty,
                "an unsigned integer; for a record, name its `field`",
            ),
            Some(name) => {
                let field = counted_field(resolving, &ty, &counted.function, name);
                plan.counted = field.map(|field| CountedPlan {
                    question,
                    field: Some(field),
                });
            }
        }
    }
    for table in &report.tables {
        let Some((question, ty)) = question(
            resolving,
            application,
            surfaces,
            &table.component,
            &table.function,
        ) else {
            continue;
        };
        match columns(ty.result.as_ref()) {
            Some(columns) => plan.tables.push(TablePlan {
                title: table.title.clone(),
                question,
                columns,
            }),
            None => wrong(resolving, &table.function, &ty, "list<record { … }>"),
        }
    }
    plan
}

/// Finds a function and checks that it asks nothing back.
fn question(
    resolving: &mut Resolving<'_>,
    application: Option<&ActorAddress>,
    surfaces: &BTreeMap<&str, &Surface>,
    component: &Spanned<String>,
    function: &Spanned<String>,
) -> Option<(Question, FunctionType)> {
    let name = component.get_ref().as_str();
    if !resolving.is_component(name) {
        let what = format!(
            "the report asks `{}`, and there is no such component",
            escaped(name)
        );
        let help = suggest(name, "components", resolving.component_names());
        resolving.find_at(component, FindingKind::UnknownActor, what, Some(help));
        return None;
    }
    if resolving.is_spawned(name) {
        not_there(resolving, component);
        return None;
    }
    let surface = surfaces.get(name)?;
    let export = match surface.export(function.get_ref()) {
        Ok(export) => export,
        Err(error) => {
            resolving.find_at(
                function,
                FindingKind::UnknownFunction,
                format!("`{name}`: {error}"),
                None,
            );
            return None;
        }
    };
    let (interface, found) = surface.export_function(export)?;
    if !found.ty.params.is_empty() {
        wrong(
            resolving,
            function,
            &found.ty,
            "a function without parameters",
        );
        return None;
    }
    let function = function_path(interface, &found.name);
    let address = application?.join(name).ok()?;
    Some((Question { address, function }, found.ty.clone()))
}

fn wrong(
    resolving: &mut Resolving<'_>,
    function: &Spanned<String>,
    ty: &FunctionType,
    wanted: &str,
) {
    let what = format!("`{}` is {ty}", escaped(function.get_ref()));
    resolving.find_at(
        function,
        FindingKind::TypeMismatch,
        what,
        Some(format!("the report needs {wanted}")),
    );
}

fn is_count(ty: Option<&WitType>) -> bool {
    matches!(
        ty,
        Some(WitType::U8 | WitType::U16 | WitType::U32 | WitType::U64)
    )
}

fn counted_field(
    resolving: &mut Resolving<'_>,
    ty: &FunctionType,
    function: &Spanned<String>,
    name: &Spanned<String>,
) -> Option<usize> {
    let Some(WitType::Record(fields)) = &ty.result else {
        wrong(
            resolving,
            function,
            ty,
            "a record, since a `field` is named",
        );
        return None;
    };
    let Some(at) = fields
        .iter()
        .position(|field| *field.name == **name.get_ref())
    else {
        let what = format!(
            "`{}` returns no field `{}`",
            escaped(function.get_ref()),
            escaped(name.get_ref())
        );
        let help = suggest(
            name.get_ref(),
            "fields",
            fields.iter().map(|field| &*field.name),
        );
        resolving.find_at(name, FindingKind::UnknownFunction, what, Some(help));
        return None;
    };
    let ty = fields.get(at).map(|field| &field.ty);
    if !is_count(ty) {
        let found = ty.map(ToString::to_string).unwrap_or_default();
        let what = format!("the field `{}` is {found}", escaped(name.get_ref()));
        resolving.find_at(
            name,
            FindingKind::TypeMismatch,
            what,
            Some("the report needs an unsigned integer".to_owned()),
        );
        return None;
    }
    Some(at)
}

/// The fields of `R` in `list<R>`.
fn columns(ty: Option<&WitType>) -> Option<Vec<(String, WitType)>> {
    let Some(WitType::List(item)) = ty else {
        return None;
    };
    let WitType::Record(fields) = &**item else {
        return None;
    };
    Some(
        fields
            .iter()
            .map(|field| (field.name.to_string(), field.ty.clone()))
            .collect(),
    )
}

impl ReportPlan {
    /// Asks for the application's own count; `None` if its manifest names none.
    pub(super) async fn counted(&self, system: &System) -> Result<Option<u64>, ReportError> {
        let Some(CountedPlan { question, field }) = &self.counted else {
            return Ok(None);
        };
        let answer = question.ask(system).await?.into_values().next();
        let number = match (answer, field) {
            (Some(Value::Record(fields)), Some(at)) => fields.into_iter().nth(*at),
            (answer, _) => answer,
        };
        match number {
            Some(Value::U8(number)) => Ok(Some(number.into())),
            Some(Value::U16(number)) => Ok(Some(number.into())),
            Some(Value::U32(number)) => Ok(Some(number.into())),
            Some(Value::U64(number)) => Ok(Some(number)),
            _ => Err(question.other_type()),
        }
    }

    /// Asks for the tables.
    pub(super) async fn tables(&self, system: &System) -> Result<Vec<ReportTable>, ReportError> {
        let mut tables = Vec::new();
        for TablePlan {
            title,
            question,
            columns,
        } in &self.tables
        {
            let Some(Value::List(records)) = question.ask(system).await?.into_values().next()
            else {
                return Err(question.other_type());
            };
            let rows = records
                .into_iter()
                .map(|record| match record {
                    Value::Record(fields) => Ok(fields),
                    _ => Err(question.other_type()),
                })
                .collect::<Result<_, _>>()?;
            tables.push(ReportTable {
                title: title.clone(),
                columns: columns.clone(),
                rows,
            });
        }
        Ok(tables)
    }
}

impl Question {
    async fn ask(&self, system: &System) -> Result<Args, ReportError> {
        let call = |why: CallError| ReportError::Call {
            address: self.address.clone(),
            function: self.function.clone(),
            why: Box::new(why),
        };
        let Some(actor) = system.whereis(&self.address) else {
            return Err(call(CallError::NoSuchActor {
                address: self.address.clone(),
            }));
        };
        actor.call(&self.function, ()).await.map_err(call)
    }

    fn other_type(&self) -> ReportError {
        ReportError::Answer {
            address: self.address.clone(),
            function: self.function.clone(),
        }
    }
}
