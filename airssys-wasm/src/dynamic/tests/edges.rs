//! What is refused before a guest is entered, hosts that answer wrongly, and strings that are not UTF-8 inside.

use std::task::{Context, Poll};

use wasmtime::component::Linker;
use wasmtime::{Engine, Store};

use super::super::{AbiViolation, CallTarget, HandleHost, ImportHost, define_import};
use super::generate::list;
use super::{Guest, no_handles};
use crate::args::{Args, IntoArgs};
use crate::handles::Handles;
use crate::surface::{ExportId, ImportId};
use crate::value::Value;
use crate::wit::{CallRefused, FunctionType, WitType};

const ADD: &str = r#"(component
  (core module $m (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;

#[tokio::test]
async fn arguments_that_do_not_fit_never_reach_the_guest() {
    let guest = Guest::new(&Engine::default(), ADD);
    let id = guest.surface.export("add").unwrap();
    let target = CallTarget::resolve(&guest.component, &guest.surface, id, &[]).unwrap();
    target.accepts(&(1u32, 2u32).into_args()).unwrap();
    let error = target.accepts(&(1u32, 2u64).into_args()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "argument 2 (`b`): expected u32, found u64"
    );
    let missing = CallTarget::resolve(
        &guest.component,
        &guest.surface,
        ExportId::from_index(7),
        &[],
    );
    assert_eq!(missing.unwrap_err(), CallRefused::NoSuchFunction(7));

    // Without that check the call fails, and harms nothing but its Store.
    let mut running = guest.start().await;
    let (store, instance) = (&mut running.store, &running.instance);
    for args in [(1u32, 2u64).into_args(), (1u32,).into_args(), Args::new()] {
        let error = target
            .call_async(store, instance, &args, None)
            .await
            .unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(AbiViolation::Unfit { .. })),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_instance_of_another_component_is_refused() {
    let engine = Engine::default();
    let one = Guest::new(&engine, ADD);
    let two = Guest::new(&engine, ADD);
    let id = one.surface.export("add").unwrap();
    let target = CallTarget::resolve(&one.component, &one.surface, id, &[]).unwrap();
    let mut running = two.start().await;
    let args = (1u32, 2u32).into_args();
    let result = target
        .call_async(&mut running.store, &running.instance, &args, None)
        .await;
    assert!(format!("{:?}", result.unwrap_err()).contains("another component"));
}

#[test]
fn functions_with_handles_of_the_hosts_are_refused_by_name() {
    let wat = r#"(component
      (import "a:b/files" (instance $files (export "file" (type (sub resource)))))
      (alias export $files "file" (type $file))
      (core module $m (func (export "take") (param i32)))
      (core instance $i (instantiate $m))
      (func (export "take") (param "f" (own $file)) (canon lift (core func $i "take"))))"#;
    let guest = Guest::new(&Engine::default(), wat);
    let id = guest.surface.export("take").unwrap();
    let resolve =
        |proxied: &[_]| CallTarget::resolve(&guest.component, &guest.surface, id, proxied);
    assert_eq!(
        resolve(&[]).unwrap_err().to_string(),
        "`func(f: own<file>)` cannot be called from outside: \
         `file of a:b/files` cannot be carried as data"
    );
    let file = guest.surface.imports[0].resources[0].ty.clone();
    assert!(resolve(&[file]).is_ok());
}

/// Answers every import with these results, whatever was asked.
struct Answers(Args, Handles);

impl HandleHost for Answers {
    fn handles(&mut self) -> &mut Handles {
        &mut self.1
    }
}

impl ImportHost for Answers {
    fn start_import(&mut self, _id: ImportId, _args: Args) -> wasmtime::Result<()> {
        Ok(())
    }

    fn poll_import(
        &mut self,
        _id: ImportId,
        _cx: &mut Context<'_>,
    ) -> Poll<wasmtime::Result<Args>> {
        Poll::Ready(Ok(self.0.clone()))
    }
}

const ASKS: &str = r#"(component
  (import "test:abi/host" (instance $host (export "ask" (func (result u32)))))
  (core func $ask (canon lower (func $host "ask")))
  (core module $m
    (import "host" "ask" (func $ask (result i32)))
    (func (export "go") (result i32) (call $ask)))
  (core instance $i (instantiate $m (with "host" (instance (export "ask" (func $ask))))))
  (func (export "go") (result u32) (canon lift (core func $i "go"))))"#;

#[tokio::test]
async fn a_host_that_answers_with_another_type_ends_the_call() {
    let guest = Guest::new(&Engine::default(), ASKS);
    let (id, interface, function) = guest.surface.import_functions().next().unwrap();
    let export = guest.surface.export("go").unwrap();
    let target = CallTarget::resolve(&guest.component, &guest.surface, export, &[]).unwrap();
    for (answer, works) in [
        ((7u32,).into_args(), true),
        ((7u64,).into_args(), false),
        (("seven",).into_args(), false),
        (().into_args(), false),
        ((7u32, 7u32).into_args(), false),
    ] {
        let mut linker = Linker::new(guest.component.engine());
        let mut instance = linker.instance(interface.as_str()).unwrap();
        define_import(&mut instance, &function.name, id, &function.ty).unwrap();
        let mut store = Store::new(
            guest.component.engine(),
            Answers(answer.clone(), no_handles()),
        );
        let instance = linker
            .instantiate_async(&mut store, &guest.component)
            .await
            .unwrap();
        let result = target
            .call_async(&mut store, &instance, &Args::new(), None)
            .await;
        assert_eq!(result.is_ok(), works, "{answer:?}: {result:?}");
    }
}

#[test]
fn an_import_defined_with_another_shape_does_not_link() {
    let guest = Guest::new(&Engine::default(), ASKS);
    let (id, interface, _) = guest.surface.import_functions().next().unwrap();
    let shape = |params: Vec<WitType>, result: Option<WitType>| FunctionType {
        params: params.into_iter().map(|ty| (String::new(), ty)).collect(),
        result,
        is_async: false,
    };
    for (ty, links) in [
        (shape(vec![], Some(WitType::U32)), true),
        (shape(vec![WitType::U8], Some(WitType::U32)), false),
        (shape(vec![], None), false),
        (shape(vec![list(WitType::U8)], None), false),
    ] {
        let mut linker = Linker::<Answers>::new(guest.component.engine());
        let mut instance = linker.instance(interface.as_str()).unwrap();
        define_import(&mut instance, "ask", id, &ty).unwrap();
        assert_eq!(
            linker.instantiate_pre(&guest.component).is_ok(),
            links,
            "{ty}"
        );
    }
    let mut linker = Linker::<Answers>::new(guest.component.engine());
    let mut instance = linker.instance(interface.as_str()).unwrap();
    define_import(
        &mut instance,
        "ask",
        id,
        &shape(vec![WitType::Stream], None),
    )
    .unwrap_err();
}

#[tokio::test]
async fn strings_of_every_encoding_come_back() {
    for encoding in ["utf8", "utf16", "latin1+utf16"] {
        let guest = Guest::new(
            &Engine::default(),
            &format!(
                r#"(component
          (core module $m (memory (export "m") 1)
            (global $next (mut i32) (i32.const 1024))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
              (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
              (memory.copy (local.get $at) (local.get 0) (local.get 1))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.get $at))
            (func (export "same") (param i32 i32) (result i32)
              (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
          (core instance $i (instantiate $m))
          (func (export "same") (param "x" string) (result string)
            (canon lift (core func $i "same") (memory $i "m") (realloc (core func $i "realloc"))
              string-encoding={encoding})))"#
            ),
        );
        let mut running = guest.start().await;
        for text in ["", "plain", "Größe", "\0 \u{1F30B} \u{202e} mixed ß"] {
            let back = running.call("same", (text,).into_args()).await.unwrap();
            assert_eq!(back.values(), [Value::from(text)], "{encoding}");
        }
    }
}
