//! What a component exports is lifted from a core instance that exports again what it imports.
//!
//! At each call of an export wasmtime makes the core function's reference anew, and looks two addresses up for it, if the
//! core instance it is lifted from has defined it: some 600 instructions, and some 40 cache lines of code, a tenth of what
//! an ask takes. Of a function that the instance imports it has the reference already. So, before it is compiled, a
//! component gets one core module more, which imports what is lifted and exports it again, and an instance of it; the
//! aliases that are lifted are of that instance. What runs is the same function of the same instance.
//!
//! Only bytes are put in between and aliases named otherwise: no index and no offset of code moves. Where that is not
//! enough (what is lifted comes from several instances, and those after the first; a core module or instance is made
//! after the first alias that is lifted; a nested component; a parameter that is a reference), functions stay as they
//! are: that is slower, and nothing else.

use std::collections::HashSet;
use std::ops::Range;

use wasm_encoder::reencode::{RoundtripReencoder, component_utils};
use wasm_encoder::{
    ComponentAliasSection, ComponentSection, EntityType, ExportKind, ExportSection, ImportSection,
    InstanceSection, Module, ModuleArg, ModuleSection, TypeSection, ValType,
};
use wasmparser::{
    CanonicalFunction, Chunk, ComponentAlias, ComponentAliasSectionReader, ComponentExternalKind,
    ComponentTypeRef, CompositeInnerType, ExternalKind, FuncType, Imports, Instance, Parser,
    Payload, SubType, TypeRef,
};

/// The name of the one import module.
const FROM: &str = "lifted";

/// Changes when what is made of a component does: code compiled before is not taken any more.
pub(crate) const REVISION: u8 = 1;

/// What is put into one component, and where.
pub(crate) struct Reexport<'a> {
    /// Where the alias sections lie, whole, that name something that is lifted, in order. The new module and its instance
    /// come before the first.
    sections: Vec<(Range<usize>, ComponentAliasSectionReader<'a>)>,
    functions: Vec<(&'a str, FuncType)>,
    names: HashSet<&'a str>,
    instance: u32,
    next_module: u32,
    next_instance: u32,
}

impl<'a> Reexport<'a> {
    /// Finds what there is to export again; `None` if there is nothing, or it cannot be, or this is no valid component.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        Outline::of(bytes)?.reexport(bytes)
    }

    /// Returns the component with it.
    pub(crate) fn applied_to(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut made = Vec::with_capacity(bytes.len() + 1024);
        let mut copied = 0;
        for (range, section) in &self.sections {
            made.extend_from_slice(bytes.get(copied..range.start)?);
            if copied == 0 {
                self.module_and_instance(&mut made)?;
            }
            self.renamed(section.clone())?
                .append_to_component(&mut made);
            copied = range.end;
        }
        made.extend_from_slice(bytes.get(copied..)?);
        Some(made)
    }

    fn module_and_instance(&self, made: &mut Vec<u8>) -> Option<()> {
        let mut types = TypeSection::new();
        let mut imports = ImportSection::new();
        let mut exports = ExportSection::new();
        for (index, (name, ty)) in (0..).zip(&self.functions) {
            types
                .ty()
                .function(numbers(ty.params())?, numbers(ty.results())?);
            imports.import(FROM, name, EntityType::Function(index));
            exports.export(name, ExportKind::Func, index);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&exports);
        ModuleSection(&module).append_to_component(made);
        let mut instances = InstanceSection::new();
        instances.instantiate(
            self.next_module,
            [(FROM, ModuleArg::Instance(self.instance))],
        );
        instances.append_to_component(made);
        Some(())
    }

    fn renamed(&self, section: ComponentAliasSectionReader<'_>) -> Option<ComponentAliasSection> {
        let mut aliases = ComponentAliasSection::new();
        for alias in section {
            let mut alias = alias.ok()?;
            if let Some((instance, name)) = core_function(&alias)
                && instance == self.instance
                && self.names.contains(name)
            {
                alias = ComponentAlias::CoreInstanceExport {
                    kind: ExternalKind::Func,
                    instance_index: self.next_instance,
                    name,
                };
            }
            let alias = component_utils::component_alias(&mut RoundtripReencoder, alias).ok()?;
            aliases.alias(alias);
        }
        Some(aliases)
    }
}

/// The outermost level of a component, as far as it matters here.
#[derive(Default)]
struct Outline<'a> {
    /// The core modules; the bytes of those that lie here.
    modules: Vec<Option<Range<usize>>>,
    /// The core instances; the core module of those that are instances of one.
    instances: Vec<Option<u32>>,
    /// The core functions; instance and name of those that are aliases.
    functions: Vec<Option<(u32, &'a str)>>,
    /// The core functions that are lifted, in order.
    lifted: Vec<u32>,
    sections: Vec<Section<'a>>,
}

/// An alias section, and how many core modules and instances came before it.
struct Section<'a> {
    range: Range<usize>,
    reader: ComponentAliasSectionReader<'a>,
    modules: usize,
    instances: usize,
}

impl<'a> Outline<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut outline = Self::default();
        let mut parser = Parser::new(0);
        let mut at = 0;
        while at < bytes.len() {
            let Chunk::Parsed { consumed, payload } = parser.parse(bytes.get(at..)?, true).ok()?
            else {
                return None;
            };
            let whole = at..at.checked_add(consumed)?;
            at = whole.end;
            if let Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } = &payload
            {
                at = unchecked_range.end;
            }
            outline.take(payload, whole)?;
        }
        Some(outline)
    }

    fn take(&mut self, payload: Payload<'a>, whole: Range<usize>) -> Option<()> {
        match payload {
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                self.modules.push(Some(unchecked_range));
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    if let ComponentTypeRef::Module(_) = import.ok()?.ty {
                        self.modules.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    if export.ok()?.kind == ComponentExternalKind::Module {
                        self.modules.push(None);
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances.push(match instance.ok()? {
                        Instance::Instantiate { module_index, .. } => Some(module_index),
                        Instance::FromExports(_) => None,
                    });
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    match function.ok()? {
                        CanonicalFunction::Lift {
                            core_func_index, ..
                        } => self.lifted.push(core_func_index),
                        _ => self.functions.push(None),
                    }
                }
            }
            Payload::ComponentAliasSection(section) => self.aliases(section, whole)?,
            _ => {}
        }
        Some(())
    }

    fn aliases(
        &mut self,
        section: ComponentAliasSectionReader<'a>,
        range: Range<usize>,
    ) -> Option<()> {
        self.sections.push(Section {
            range,
            reader: section.clone(),
            modules: self.modules.len(),
            instances: self.instances.len(),
        });
        for alias in section {
            let alias = alias.ok()?;
            match alias {
                ComponentAlias::CoreInstanceExport {
                    kind: ExternalKind::Func | ExternalKind::FuncExact,
                    ..
                } => self.functions.push(core_function(&alias)),
                ComponentAlias::InstanceExport {
                    kind: ComponentExternalKind::Module,
                    ..
                }
                | ComponentAlias::Outer {
                    kind: wasmparser::ComponentOuterAliasKind::CoreModule,
                    ..
                } => self.modules.push(None),
                _ => {}
            }
        }
        Some(())
    }

    fn reexport(self, bytes: &'a [u8]) -> Option<Reexport<'a>> {
        let of = |lifted: &u32| *self.functions.get(usize::try_from(*lifted).ok()?)?;
        let (instance, _) = self.lifted.iter().find_map(of)?;
        let wanted: HashSet<_> = self
            .lifted
            .iter()
            .filter_map(of)
            .filter_map(|(from, name)| (from == instance).then_some(name))
            .collect();
        let module = (*self.instances.get(usize::try_from(instance).ok()?)?)?;
        let module = self.modules.get(usize::try_from(module).ok()?)?.clone()?;
        let functions = exported(bytes.get(module.clone())?, module.start, &wanted)?;
        let names: HashSet<_> = functions.iter().map(|(name, _)| *name).collect();
        let names_one = |section: &Section<'_>| {
            section.reader.clone().into_iter().any(|alias| {
                let function = alias.ok().as_ref().and_then(core_function);
                function.is_some_and(|(from, name)| from == instance && names.contains(name))
            })
        };
        let sections: Vec<_> = self.sections.into_iter().filter(names_one).collect();
        let first = sections.first()?;
        let moved = first.modules != self.modules.len() || first.instances != self.instances.len();
        if moved {
            return None;
        }
        Some(Reexport {
            functions,
            names,
            instance,
            next_module: u32::try_from(first.modules).ok()?,
            next_instance: u32::try_from(first.instances).ok()?,
            sections: sections
                .into_iter()
                .map(|section| (section.range, section.reader))
                .collect(),
        })
    }
}

/// The core instance and the name, if it is a core function that is named.
fn core_function<'a>(alias: &ComponentAlias<'a>) -> Option<(u32, &'a str)> {
    match alias {
        ComponentAlias::CoreInstanceExport {
            kind: ExternalKind::Func,
            instance_index,
            name,
        } => Some((*instance_index, name)),
        _ => None,
    }
}

/// The types of a core module's exported functions, of those wanted that take and return numbers only, in its order.
fn exported<'a>(
    module: &'a [u8],
    offset: usize,
    wanted: &HashSet<&str>,
) -> Option<Vec<(&'a str, FuncType)>> {
    let mut types: Vec<Option<FuncType>> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let mut found = Vec::new();
    let mut wanted = wanted.clone();
    let mut parser = Parser::new(u64::try_from(offset).ok()?);
    let mut at = 0;
    while at < module.len() {
        let Chunk::Parsed { consumed, payload } = parser.parse(module.get(at..)?, true).ok()?
        else {
            return None;
        };
        at += consumed;
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    let group = group.ok()?;
                    let alone = group.types().len() == 1;
                    types.extend(
                        group
                            .into_types()
                            .map(|ty| of_numbers(ty).filter(|_| alone)),
                    );
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    match import.ok()? {
                        Imports::Single(_, import) => match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => functions.push(ty),
                            _ => {}
                        },
                        _ => return None,
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    functions.push(ty.ok()?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    // Once each: that a name is there but once is looked at later, by the engine.
                    if export.kind != ExternalKind::Func || !wanted.remove(export.name) {
                        continue;
                    }
                    let ty = *functions.get(usize::try_from(export.index).ok()?)?;
                    if let Some(ty) = types.get(usize::try_from(ty).ok()?)? {
                        found.push((export.name, ty.clone()));
                    }
                }
                break;
            }
            _ => {}
        }
    }
    Some(found)
}

/// What a function that is lifted takes and returns at most, as numbers: what is more lies in memory.
const PARAMS_MAX: usize = 16;
const RESULTS_MAX: usize = 1;

/// The function type, if it is a plain one of a few numbers: one that is part of others, or may be, is another type where
/// it is written again.
fn of_numbers(ty: SubType) -> Option<FuncType> {
    let plain = ty.is_final && ty.supertype_idx.is_none() && !ty.composite_type.shared;
    let CompositeInnerType::Func(function) = ty.composite_type.inner else {
        return None;
    };
    let few = function.params().len() <= PARAMS_MAX && function.results().len() <= RESULTS_MAX;
    let all_numbers = |types| numbers(types).is_some();
    (plain && few && all_numbers(function.params()) && all_numbers(function.results()))
        .then_some(function)
}

/// The types, if all are numbers.
fn numbers(types: &[wasmparser::ValType]) -> Option<Vec<ValType>> {
    types
        .iter()
        .map(|ty| match ty {
            wasmparser::ValType::I32 => Some(ValType::I32),
            wasmparser::ValType::I64 => Some(ValType::I64),
            wasmparser::ValType::F32 => Some(ValType::F32),
            wasmparser::ValType::F64 => Some(ValType::F64),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a core module that exports a function, `$between` before what is lifted, and `$after` it.
    fn component(between: &str, after: &str) -> Vec<u8> {
        let text = format!(
            "(component
               (core module $m (func (export \"f\") (param i32) (result i32) local.get 0)
                 (func (export \"g\")) (memory (export \"memory\") 1))
               (core instance $i (instantiate $m))
               {between}
               (alias core export $i \"f\" (core func $f))
               (func (export \"f\") (param \"x\" u32) (result u32) (canon lift (core func $f)))
               {after})"
        );
        wat::parse_str(text).unwrap()
    }

    fn reexported(bytes: &[u8]) -> Option<Vec<u8>> {
        Reexport::of(bytes)?.applied_to(bytes)
    }

    fn sections(bytes: &[u8]) -> Outline<'_> {
        Outline::of(bytes).unwrap()
    }

    #[test]
    fn what_is_lifted_is_of_the_new_instance_and_nothing_else_moves() {
        let lifted_too = "(alias core export $i \"memory\" (core memory))
           (func (export \"g\") (canon lift (core func $i \"g\")))";
        let bytes = component("", lifted_too);
        let made = reexported(&bytes).unwrap();
        let (before, after) = (sections(&bytes), sections(&made));
        assert_eq!(before.functions, [Some((0, "f")), Some((0, "g"))]);
        assert_eq!(after.functions, [Some((1, "f")), Some((1, "g"))]);
        assert_eq!(after.lifted, before.lifted);
        assert_eq!(after.instances, [Some(0), Some(1)]);
        let code = before.modules[0].clone().unwrap();
        assert_eq!(
            after.modules[0],
            Some(code.clone()),
            "its code stays where it is"
        );
        assert_eq!(made[..code.end], bytes[..code.end]);
        assert_eq!(after.modules.len(), 2);
        let engine = wasmtime::Engine::default();
        wasmtime::component::Component::new(&engine, &made).unwrap();
        // Once is enough, and twice no harm.
        let twice = reexported(&made).unwrap();
        wasmtime::component::Component::new(&engine, &twice).unwrap();
    }

    #[test]
    fn what_cannot_be_without_moving_anything_is_left() {
        let later = [
            "(core module (func))",
            "(core instance (instantiate $m))",
            "(core instance (export \"memory\" (memory $i \"memory\")))",
            "(import \"m\" (core module))",
        ];
        for after in later {
            assert!(
                reexported(&component(after, "")).is_some(),
                "before: {after}"
            );
            assert!(
                reexported(&component("", after)).is_none(),
                "after: {after}"
            );
        }
        let others = [
            "(component)",
            // Nothing is lifted.
            "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
               (alias core export $i \"f\" (core func)))",
            // Of no module that lies here.
            "(component (import \"m\" (core module $m (export \"f\" (func)))) (core instance $i (instantiate $m))
               (func (export \"f\") (canon lift (core func $i \"f\"))))",
            // Of no alias.
            "(component (import \"f\" (func $f)) (core func $g (canon lower (func $f)))
               (func (export \"g\") (canon lift (core func $g))))",
            // In a component inside.
            "(component (component $c (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
               (func (export \"f\") (canon lift (core func $i \"f\"))))
               (instance $i (instantiate $c)) (export \"f\" (func $i \"f\")))",
            // Not of numbers; and not of a type that another of the same shape is the same as.
            "(component (core module $m (func (export \"f\") (param externref))) (core instance $i (instantiate $m))
               (func (export \"f\") (canon lift (core func $i \"f\"))))",
            "(component (core module $m (type $t (sub (func))) (func (export \"f\") (type $t)))
               (core instance $i (instantiate $m)) (func (export \"f\") (canon lift (core func $i \"f\"))))",
            "(component (core module $m (rec (type $t (func)) (type (struct))) (func (export \"f\") (type $t)))
               (core instance $i (instantiate $m)) (func (export \"f\") (canon lift (core func $i \"f\"))))",
        ];
        for text in others {
            assert!(
                reexported(&wat::parse_str(text).unwrap()).is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn only_what_is_of_numbers_and_of_the_first_instance_is() {
        let text = "(component
           (core module $m (func (export \"f\") (result i64) i64.const 1) (func (export \"g\") (param externref))
             (func (export \"h\") (param f32 f64)))
           (core instance $i (instantiate $m)) (core instance $j (instantiate $m))
           (func (export \"f\") (result s64) (canon lift (core func $i \"f\")))
           (func (export \"g\") (canon lift (core func $i \"g\")))
           (func (export \"h\") (param \"a\" f32) (param \"b\" f64) (canon lift (core func $j \"h\"))))";
        let bytes = wat::parse_str(text).unwrap();
        let made = reexported(&bytes).unwrap();
        let expected = [Some((2, "f")), Some((0, "g")), Some((1, "h"))];
        assert_eq!(sections(&made).functions, expected);
    }

    /// A name a thousand times over, and a type that no function that is lifted can have: neither is valid, and nobody has
    /// looked yet.
    #[test]
    fn what_repeats_itself_is_written_down_once() {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32; 3], [ValType::I32]);
        types.ty().function([ValType::I32; 1_000], []);
        let mut functions = wasm_encoder::FunctionSection::new();
        functions.function(0).function(1);
        let mut exports = ExportSection::new();
        for _ in 0..1_000 {
            exports.export("f", ExportKind::Func, 0);
            exports.export("wide", ExportKind::Func, 1);
        }
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&exports);
        let wanted = HashSet::from(["f", "wide"]);
        let module = module.finish();
        let found = exported(&module, 0, &wanted).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1.params().len()), ("f", 3));
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics() {
        let bytes = component(
            "",
            "(func (export \"g\") (canon lift (core func $i \"g\")))",
        );
        for length in 0..bytes.len() {
            reexported(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= flip;
                reexported(&bad);
            }
        }
    }

    /// Whoever builds a component by the usual tools gets it.
    #[test]
    fn what_rust_and_the_component_tools_make_has_it() {
        for of in ["benches/guests", "examples/quakes", "examples/chat"] {
            let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(of);
            for entry in std::fs::read_dir(directory.join("components")).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_none_or(|extension| extension != "wasm")
                    // Two components in one: both lie inside.
                    || path.ends_with("composed.wasm")
                {
                    continue;
                }
                let bytes = std::fs::read(&path).unwrap();
                assert!(reexported(&bytes).is_some(), "{}", path.display());
            }
        }
    }
}
