//! Components that hand a value of any type from export to import and back, without looking at it.
//!
//! The canonical ABI passes the same flat values to an export that the export passes to an import of the same
//! type, so the core functions only move slots. With a padding parameter both go through memory instead.

use std::fmt::Write as _;

use crate::wit::WitType;

/// A component for type `T` with
/// `via(x: T) -> T`: calls the import with the flat values, returns what it answers;
/// `via-memory(x: T, pad) -> T`: the same through memory;
/// `same-memory(x: T, pad) -> T`: returns its own parameter (only if `T` is returned through memory);
/// `at(p: u32) -> T`: returns what is at `p` (only if `T` is returned through memory), over `garbage`.
pub(super) fn component(ty: &WitType, garbage: &[u8]) -> String {
    let mut named = Named::default();
    let name = named.reference(ty);
    let flat = flats(ty);
    let single = flat.len() == 1;
    let pad = format!("(param \"pad\" (tuple{}))", " u8".repeat(17));

    let slots: Vec<&str> = if flat.len() > 16 {
        vec!["i32"]
    } else {
        flat.iter().map(|core| core.name()).collect()
    };
    let params = slots.join(" ");
    let (result, import_result, retptr) = if single {
        (slots[0], format!("(result {})", slots[0]), "")
    } else {
        ("i32", String::new(), "i32")
    };
    let give: String = (0..slots.len()).fold(String::new(), |mut text, at| {
        write!(text, "local.get {at} ").unwrap();
        text
    });
    let back = if single { "" } else { "i32.const 1024" };
    let memory_exports = if single {
        String::new()
    } else {
        r#"(func (export "same-memory") (param i32) (result i32) local.get 0)
           (func (export "at") (param i32) (result i32) local.get 0)"#
            .to_owned()
    };
    let lifted = |export: &str, params: &str| {
        format!(
            r#"(func (export "{export}") {params} (result {name}) (canon lift (core func $i "{export}")
                 (memory $libc "memory") (realloc (core func $libc "realloc"))))"#
        )
    };
    let x = format!("(param \"x\" {name})");
    let mut lifts = lifted("via", &x) + &lifted("via-memory", &format!("{x} {pad}"));
    if !single {
        lifts += &lifted("same-memory", &format!("{x} {pad}"));
        lifts += &lifted("at", "(param \"p\" u32)");
    }
    let data: String = garbage.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    });
    let definitions = &named.definitions;
    let aliases = &named.aliases;
    let lower = r#"(memory $libc "memory") (realloc (core func $libc "realloc"))"#;
    format!(
        r#"(component
  (import "test:abi/host" (instance $host
    {definitions}
    (export "echo" (func {x} (result {name})))
    (export "echo-memory" (func {x} {pad} (result {name})))))
  {aliases}
  (core module $libc
    (memory (export "memory") 64)
    (data (i32.const 0) "{data}")
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $echo (canon lower (func $host "echo") {lower}))
  (core func $echo-memory (canon lower (func $host "echo-memory") {lower}))
  (core module $m
    (import "host" "echo" (func $echo (param {params} {retptr}) {import_result}))
    (import "host" "echo-memory" (func $echo-memory (param i32 {retptr}) {import_result}))
    (func (export "via") (param {params}) (result {result})
      {give} {back} call $echo {back})
    (func (export "via-memory") (param i32) (result {result})
      local.get 0 {back} call $echo-memory {back})
    {memory_exports})
  (core instance $i (instantiate $m (with "host" (instance
    (export "echo" (func $echo)) (export "echo-memory" (func $echo-memory))))))
  {lifts})"#
    )
}

/// Types with names: the component model wants records, variants, enums and flags exported by the imported
/// instance before a signature may use them.
#[derive(Default)]
struct Named {
    count: usize,
    definitions: String,
    aliases: String,
}

impl Named {
    fn define(&mut self, definition: &str) -> String {
        let n = self.count;
        self.count += 1;
        writeln!(
            self.definitions,
            r#"(type $d{n} {definition}) (export "t{n}" (type $t{n} (eq $d{n})))"#
        )
        .unwrap();
        writeln!(self.aliases, r#"(alias export $host "t{n}" (type $t{n}))"#).unwrap();
        format!("$t{n}")
    }

    fn reference(&mut self, ty: &WitType) -> String {
        match ty {
            WitType::List(ty) => format!("(list {})", self.reference(ty)),
            WitType::Option(ty) => format!("(option {})", self.reference(ty)),
            WitType::Tuple(types) => {
                let parts: Vec<String> = types.iter().map(|ty| self.reference(ty)).collect();
                format!("(tuple {})", parts.join(" "))
            }
            WitType::Result { ok, err } => {
                let ok = ok.as_ref().map(|ty| self.reference(ty)).unwrap_or_default();
                let err = err
                    .as_ref()
                    .map(|ty| format!("(error {})", self.reference(ty)))
                    .unwrap_or_default();
                format!("(result {ok} {err})")
            }
            WitType::Record(fields) => {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|field| {
                        format!(r#"(field "{}" {})"#, field.name, self.reference(&field.ty))
                    })
                    .collect();
                self.define(&format!("(record {})", parts.join(" ")))
            }
            WitType::Variant(cases) => {
                let parts: Vec<String> = cases
                    .iter()
                    .map(|case| {
                        let payload = case.ty.as_ref().map(|ty| self.reference(ty));
                        format!(r#"(case "{}" {})"#, case.name, payload.unwrap_or_default())
                    })
                    .collect();
                self.define(&format!("(variant {})", parts.join(" ")))
            }
            WitType::Enum(names) | WitType::Flags(names) => {
                let parts: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                let keyword = if matches!(ty, WitType::Enum(_)) {
                    "enum"
                } else {
                    "flags"
                };
                self.define(&format!("({keyword} {})", parts.join(" ")))
            }
            WitType::Own(resource) => {
                let name = resource.name();
                if !self.definitions.contains("(sub resource)") {
                    self.definitions.insert_str(
                        0,
                        &format!("(export \"{name}\" (type $r (sub resource)))\n"),
                    );
                    self.aliases
                        .insert_str(0, &format!("(alias export $host \"{name}\" (type $r))\n"));
                }
                "(own $r)".to_owned()
            }
            scalar => scalar.to_string(),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Core {
    I32,
    I64,
    F32,
    F64,
}

impl Core {
    fn name(self) -> &'static str {
        match self {
            Core::I32 => "i32",
            Core::I64 => "i64",
            Core::F32 => "f32",
            Core::F64 => "f64",
        }
    }
}

/// The canonical ABI's flattening, written down independently of the code under test.
fn flats(ty: &WitType) -> Vec<Core> {
    match ty {
        WitType::S64 | WitType::U64 => vec![Core::I64],
        WitType::F32 => vec![Core::F32],
        WitType::F64 => vec![Core::F64],
        WitType::String | WitType::List(_) => vec![Core::I32; 2],
        WitType::Record(fields) => fields.iter().flat_map(|field| flats(&field.ty)).collect(),
        WitType::Tuple(types) => types.iter().flat_map(flats).collect(),
        WitType::Variant(cases) => joined(cases.iter().map(|case| case.ty.as_ref())),
        WitType::Option(ty) => joined([Some(&**ty)]),
        WitType::Result { ok, err } => joined([ok.as_deref(), err.as_deref()]),
        _ => vec![Core::I32],
    }
}

fn joined<'a>(payloads: impl IntoIterator<Item = Option<&'a WitType>>) -> Vec<Core> {
    let mut slots = vec![Core::I32];
    for payload in payloads.into_iter().flatten() {
        for (at, core) in flats(payload).into_iter().enumerate() {
            match slots.get_mut(at + 1) {
                None => slots.push(core),
                Some(slot) if *slot == core => {}
                Some(slot) => {
                    let narrow = [*slot, core]
                        .iter()
                        .all(|core| matches!(core, Core::I32 | Core::F32));
                    *slot = if narrow { Core::I32 } else { Core::I64 };
                }
            }
        }
    }
    slots
}
