//! WAVE text into arguments.
//!
//! The grammar is `wasm-wave`'s; the walk over its tree is ours, because an error has to say which argument, where
//! in it, and which type was wanted there.

use wasm_wave::ast::{Node, NodeType};
use wasm_wave::parser::{ParserError, ParserErrorKind};
use wasm_wave::untyped::UntypedValue;

use crate::args::Args;
use crate::surface::nearest;
use crate::value::{FlagWords, Value};
use crate::wit::{Field, FunctionType, WitType};

/// Arguments could not be read as WAVE of the function's types. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaveError {
    /// The wrong number of arguments.
    #[error("expected {expected} argument(s), got {given}: {signature}")]
    Count {
        /// How many the function takes.
        expected: usize,
        /// How many were given.
        given: usize,
        /// The function's type, as WIT.
        signature: String,
    },
    /// An argument is not WAVE, or not of its type.
    #[error(
        "argument {position} (`{name}`), column {column}{}: {problem}; expected {expected}",
        if path.is_empty() { String::new() } else { format!(", at `{path}`") }
    )]
    Argument {
        /// Which argument, counted from 1.
        position: usize,
        /// The parameter's name.
        name: String,
        /// Where in the text, in characters counted from 1.
        column: usize,
        /// Where in the value: `points[2].x`; empty for the argument itself.
        path: String,
        /// What is wrong.
        problem: String,
        /// The type wanted there, as WIT.
        expected: String,
    },
}

/// Reads one WAVE text for each parameter of a function.
///
/// Options may be written bare (`3` for `some(3)`), and optional fields of a record may be left out.
///
/// # Errors
/// [`WaveError`] for the first argument that does not fit.
///
/// ```
/// use airssys_wasm::{FunctionType, Value, WitType, parse_args};
/// let ty = FunctionType {
///     params: vec![("n".to_owned(), WitType::U32), ("name".to_owned(), WitType::String)],
///     result: None,
///     is_async: false,
/// };
/// let args = parse_args(&ty, &["7", "\"seven\""])?;
/// assert_eq!(args.values(), [Value::U32(7), Value::from("seven")]);
/// # Ok::<(), airssys_wasm::WaveError>(())
/// ```
pub fn parse_args(ty: &FunctionType, args: &[impl AsRef<str>]) -> Result<Args, WaveError> {
    if args.len() != ty.params.len() {
        return Err(WaveError::Count {
            expected: ty.params.len(),
            given: args.len(),
            signature: ty.to_string(),
        });
    }
    args.iter()
        .zip(&ty.params)
        .enumerate()
        .map(|(at, (text, (name, ty)))| {
            let text = text.as_ref();
            parse(text, ty).map_err(|found| WaveError::Argument {
                position: at.saturating_add(1),
                name: name.clone(),
                column: column(text, found.offset),
                path: found.path(),
                problem: found.problem,
                expected: found.expected,
            })
        })
        .collect()
}

/// What is wrong with one argument; steps are collected on the way up, innermost first.
struct Found {
    offset: usize,
    problem: String,
    expected: String,
    steps: Vec<String>,
}

type Parsed<T> = Result<T, Box<Found>>;

impl Found {
    fn at(mut self: Box<Self>, step: impl FnOnce() -> String) -> Box<Self> {
        self.steps.push(step());
        self
    }

    fn path(&self) -> String {
        let path: String = self.steps.iter().rev().map(String::as_str).collect();
        path.strip_prefix('.').map_or(path.clone(), str::to_owned)
    }
}

fn column(text: &str, offset: usize) -> usize {
    text.char_indices()
        .take_while(|(start, _)| *start < offset)
        .count()
        .saturating_add(1)
}

fn parse(text: &str, ty: &WitType) -> Parsed<Value> {
    let tree = UntypedValue::parse(text).map_err(|error| syntax(&error, ty))?;
    Reader { text }.value(tree.node(), ty)
}

fn syntax(error: &ParserError, ty: &WitType) -> Box<Found> {
    let detail = error
        .detail()
        .map_or_else(String::new, |detail| format!(": {detail}"));
    let problem = match error.kind() {
        ParserErrorKind::InvalidToken => {
            "this is not WAVE (is a string without quotes?)".to_owned()
        }
        ParserErrorKind::UnexpectedEnd => "the text ends too early".to_owned(),
        kind => format!("{kind}{detail}"),
    };
    Box::new(Found {
        offset: error.span().start,
        problem,
        expected: ty.to_string(),
        steps: Vec::new(),
    })
}

/// Walks a parsed tree along a type.
struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    fn fail<T>(&self, node: &Node, ty: &WitType, problem: impl Into<String>) -> Parsed<T> {
        Err(Box::new(Found {
            offset: node.span().start,
            problem: problem.into(),
            expected: ty.to_string(),
            steps: Vec::new(),
        }))
    }

    /// Turns a failure to read a leaf into words; numbers fail by range as often as by kind.
    fn leaf<T>(&self, node: &Node, ty: &WitType, read: Result<T, ParserError>) -> Parsed<T> {
        read.or_else(|error| match error.kind() {
            ParserErrorKind::InvalidType => {
                self.fail(node, ty, format!("found {}", describe(node.ty())))
            }
            ParserErrorKind::InvalidValue => {
                let text = self.text.get(node.span()).unwrap_or_default();
                self.fail(node, ty, format!("`{text}` is out of range"))
            }
            kind => self.fail(node, ty, kind.to_string()),
        })
    }

    fn value(&self, node: &Node, ty: &WitType) -> Parsed<Value> {
        let text = self.text;
        Ok(match ty {
            WitType::Bool => Value::Bool(self.leaf(node, ty, node.as_bool())?),
            WitType::S8 => Value::S8(self.leaf(node, ty, node.as_number(text))?),
            WitType::U8 => Value::U8(self.leaf(node, ty, node.as_number(text))?),
            WitType::S16 => Value::S16(self.leaf(node, ty, node.as_number(text))?),
            WitType::U16 => Value::U16(self.leaf(node, ty, node.as_number(text))?),
            WitType::S32 => Value::S32(self.leaf(node, ty, node.as_number(text))?),
            WitType::U32 => Value::U32(self.leaf(node, ty, node.as_number(text))?),
            WitType::S64 => Value::S64(self.leaf(node, ty, node.as_number(text))?),
            WitType::U64 => Value::U64(self.leaf(node, ty, node.as_number(text))?),
            WitType::F32 => Value::F32(self.leaf(node, ty, node.as_number(text))?),
            WitType::F64 => Value::F64(self.leaf(node, ty, node.as_number(text))?),
            WitType::Char => Value::Char(self.leaf(node, ty, node.as_char(text))?),
            WitType::String => Value::from(&*self.leaf(node, ty, node.as_str(text))?),
            WitType::List(element) => self.list(node, ty, element)?,
            WitType::Record(fields) => self.record(node, ty, fields)?,
            WitType::Tuple(types) => {
                let nodes: Vec<&Node> = self.leaf(node, ty, node.as_tuple())?.collect();
                if nodes.len() != types.len() {
                    return self.fail(node, ty, format!("found a tuple of {}", nodes.len()));
                }
                let mut values = Vec::with_capacity(nodes.len());
                for (at, (node, ty)) in nodes.into_iter().zip(types.iter()).enumerate() {
                    let value = self.value(node, ty);
                    values.push(value.map_err(|found| found.at(|| format!("[{at}]")))?);
                }
                Value::Tuple(values)
            }
            WitType::Variant(cases) => {
                let (label, payload) = self.leaf(node, ty, node.as_variant(text))?;
                let names = || cases.iter().map(|case| &*case.name);
                let at = self.named(node, ty, "case", label, names())?;
                let payload_type = usize::try_from(at)
                    .ok()
                    .and_then(|at| cases.get(at))
                    .and_then(|case| case.ty.as_ref());
                Value::Variant(at, self.payload(node, ty, label, payload, payload_type)?)
            }
            WitType::Enum(names) => {
                let label = self.leaf(node, ty, node.as_enum(text))?;
                Value::Enum(self.named(
                    node,
                    ty,
                    "case",
                    label,
                    names.iter().map(|name| &**name),
                )?)
            }
            WitType::Option(some) => match node.ty() {
                NodeType::OptionNone => Value::Option(None),
                NodeType::OptionSome => {
                    let payload = self.leaf(node, ty, node.as_option())?;
                    Value::Option(self.payload(node, ty, "some", payload, Some(some))?)
                }
                _ if bare(some) => Value::Option(Some(Box::new(self.value(node, some)?))),
                other => return self.fail(node, ty, format!("found {}", describe(other))),
            },
            WitType::Result { ok, err } => match (node.as_result(), ok) {
                (Ok(Ok(payload)), ok) => {
                    Value::Result(Ok(self.payload(node, ty, "ok", payload, ok.as_deref())?))
                }
                (Ok(Err(payload)), _) => Value::Result(Err(self.payload(
                    node,
                    ty,
                    "err",
                    payload,
                    err.as_deref(),
                )?)),
                (Err(_), Some(ok)) if bare(ok) => {
                    Value::Result(Ok(Some(Box::new(self.value(node, ok)?))))
                }
                (Err(_), _) => {
                    return self.fail(node, ty, format!("found {}", describe(node.ty())));
                }
            },
            WitType::Flags(names) => self.flags(node, ty, names)?,
            _ => return self.fail(node, ty, "this type has no values that can be written"),
        })
    }

    fn list(&self, node: &Node, ty: &WitType, element: &WitType) -> Parsed<Value> {
        let nodes = self.leaf(node, ty, node.as_list())?;
        let step = |at: usize| move |found: Box<Found>| found.at(|| format!("[{at}]"));
        if *element == WitType::U8 {
            let mut bytes = Vec::with_capacity(nodes.len());
            for (at, node) in nodes.enumerate() {
                let byte: Parsed<u8> = self.leaf(node, element, node.as_number(self.text));
                bytes.push(byte.map_err(step(at))?);
            }
            return Ok(Value::from(bytes));
        }
        let mut values = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.enumerate() {
            values.push(self.value(node, element).map_err(step(at))?);
        }
        Ok(Value::List(values))
    }

    fn record(&self, node: &Node, ty: &WitType, fields: &[Field]) -> Parsed<Value> {
        let given: Vec<(&str, &Node)> = self.leaf(node, ty, node.as_record(self.text))?.collect();
        for (label, at) in &given {
            self.named(
                at,
                ty,
                "field",
                label,
                fields.iter().map(|field| &*field.name),
            )?;
        }
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            let found = given.iter().find(|(label, _)| **label == *field.name);
            values.push(match (found, &field.ty) {
                (Some((_, node)), ty) => self
                    .value(node, ty)
                    .map_err(|found| found.at(|| format!(".{}", field.name)))?,
                (None, WitType::Option(_)) => Value::Option(None),
                (None, _) => {
                    return self.fail(node, ty, format!("field `{}` is missing", field.name));
                }
            });
        }
        Ok(Value::Record(values))
    }

    fn flags(&self, node: &Node, ty: &WitType, names: &[Box<str>]) -> Parsed<Value> {
        let mut words = FlagWords::from_elem(0, names.len().div_ceil(32));
        for label in self.leaf(node, ty, node.as_flags(self.text))? {
            let label = label.trim_start_matches('%');
            let at = self.named(node, ty, "flag", label, names.iter().map(|name| &**name))?;
            let word = usize::try_from(at / 32)
                .ok()
                .and_then(|at| words.get_mut(at));
            if let Some(word) = word {
                *word |= 1 << (at % 32);
            }
        }
        Ok(Value::Flags(words))
    }

    fn payload(
        &self,
        node: &Node,
        ty: &WitType,
        case: &str,
        payload: Option<&Node>,
        payload_type: Option<&WitType>,
    ) -> Parsed<Option<Box<Value>>> {
        match (payload, payload_type) {
            (None, None) => Ok(None),
            (Some(node), Some(ty)) => self
                .value(node, ty)
                .map(|value| Some(Box::new(value)))
                .map_err(|found| found.at(|| format!(".{case}"))),
            (Some(_), None) => self.fail(node, ty, format!("`{case}` takes no payload")),
            (None, Some(_)) => self.fail(node, ty, format!("`{case}` needs a payload")),
        }
    }

    /// Finds a label among the names of a type, or suggests the nearest.
    fn named<'n>(
        &self,
        node: &Node,
        ty: &WitType,
        what: &str,
        label: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Parsed<u32> {
        match names
            .clone()
            .position(|name| name == label)
            .map(u32::try_from)
        {
            Some(Ok(at)) => Ok(at),
            _ => {
                let hint = nearest(label, names)
                    .map_or_else(String::new, |name| format!(", did you mean `{name}`?"));
                self.fail(node, ty, format!("there is no {what} `{label}`{hint}"))
            }
        }
    }
}

/// Whether a value of this type may stand for `some(…)` or `ok(…)` of itself: not if it could be either.
fn bare(ty: &WitType) -> bool {
    !matches!(ty, WitType::Option(_) | WitType::Result { .. })
}

fn describe(ty: NodeType) -> &'static str {
    match ty {
        NodeType::BoolTrue | NodeType::BoolFalse => "a bool",
        NodeType::Number => "a number",
        NodeType::Char => "a char",
        NodeType::String | NodeType::MultilineString => "a string",
        NodeType::Tuple => "a tuple",
        NodeType::List => "a list",
        NodeType::Record => "a record",
        NodeType::Label => "a name without quotes",
        NodeType::VariantWithPayload => "a case with a payload",
        NodeType::OptionSome | NodeType::OptionNone => "an option",
        NodeType::ResultOk | NodeType::ResultErr => "a result",
        NodeType::Flags => "flags",
    }
}
