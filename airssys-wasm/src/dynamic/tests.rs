//! The road of this module against wasmtime's own dynamic values, on generated types, values and garbage.

mod differential;
mod echo;
mod edges;
mod fuzz;
pub(crate) mod generate;
mod handles;
mod hostile;
mod oracle;

use std::sync::Arc;
use std::task::{Context, Poll};

use wasmtime::component::{Component, Instance, Linker};
use wasmtime::{Engine, Store};

use super::{CallTarget, HandleHost, ImportHost, define_import, define_proxy};
use crate::args::Args;
use crate::handles::Handles;
use crate::surface::{ImportId, InterfaceName, Surface};
use crate::value::Value;
use crate::wit::{ResourceName, ResourceSide};

/// Store data that answers every import with its first argument, after one `Pending` if told so.
struct Echo {
    handles: Handles,
    seen: Vec<Args>,
    slow: bool,
    pending: bool,
}

/// Tables for Stores that see no handles.
fn no_handles() -> Handles {
    Handles::new(None, Arc::new([]), 0)
}

/// The resource the tests' guests import.
fn resource() -> Arc<ResourceName> {
    let host = InterfaceName::new("test:abi/host");
    ResourceName::new(&host, "thing", ResourceSide::Imported)
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            handles: Handles::new(None, Arc::new([resource()]), 10_000),
            seen: Vec::new(),
            slow: false,
            pending: false,
        }
    }
}

impl HandleHost for Echo {
    fn handles(&mut self) -> &mut Handles {
        &mut self.handles
    }
}

impl ImportHost for Echo {
    fn start_import(&mut self, _id: ImportId, args: Args) -> wasmtime::Result<()> {
        self.seen.push(args);
        self.pending = self.slow;
        Ok(())
    }

    fn poll_import(&mut self, _id: ImportId, cx: &mut Context<'_>) -> Poll<wasmtime::Result<Args>> {
        if std::mem::take(&mut self.pending) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let first = self.seen.last().unwrap().values().first().cloned();
        Poll::Ready(Ok(first.into_iter().collect()))
    }
}

/// A compiled test component with its surface.
struct Guest {
    component: Component,
    surface: Surface,
}

impl Guest {
    fn new(engine: &Engine, wat: &str) -> Self {
        let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
        let component = Component::from_binary(engine, &bytes)
            .unwrap_or_else(|error| panic!("{error:?}\n{wat}"));
        let surface = Surface::of(&component);
        Self { component, surface }
    }

    /// Instantiates it with every import on this module's road.
    async fn start(&self) -> Running<'_> {
        let mut linker = Linker::new(self.component.engine());
        for interface in &self.surface.imports {
            for resource in &interface.resources {
                let mut instance = linker.instance(interface.name.as_str()).unwrap();
                define_proxy::<Echo>(&mut instance, &resource.name, 0).unwrap();
            }
        }
        for (id, interface, function) in self.surface.import_functions() {
            let mut instance = linker.instance(interface.as_str()).unwrap();
            define_import::<Echo>(&mut instance, &function.name, id, &function.ty).unwrap();
        }
        let mut store = Store::new(self.component.engine(), Echo::default());
        let instance = linker
            .instantiate_async(&mut store, &self.component)
            .await
            .unwrap();
        Running {
            guest: self,
            store,
            instance,
        }
    }
}

struct Running<'g> {
    guest: &'g Guest,
    store: Store<Echo>,
    instance: Instance,
}

impl Running<'_> {
    async fn call(&mut self, path: &str, mut args: Args) -> wasmtime::Result<Args> {
        let id = self.guest.surface.export(path).unwrap();
        let target = CallTarget::resolve(
            &self.guest.component,
            &self.guest.surface,
            id,
            &[resource()],
        )
        .unwrap();
        target.accepts(&args).unwrap();
        let lent = target.enter(&mut self.store, &mut args).unwrap();
        target
            .call_async(&mut self.store, &self.instance, &args, lent)
            .await
    }
}

/// Equality that tells apart NaNs by their bits, and zeroes by their sign.
fn same(one: &Value, two: &Value) -> bool {
    let nodes = |one: &[Value], two: &[Value]| {
        one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
    };
    let boxed = |one: &Option<Box<Value>>, two: &Option<Box<Value>>| match (one, two) {
        (Some(one), Some(two)) => same(one, two),
        (None, None) => true,
        _ => false,
    };
    match (one, two) {
        (Value::F32(one), Value::F32(two)) => one.to_bits() == two.to_bits(),
        (Value::F64(one), Value::F64(two)) => one.to_bits() == two.to_bits(),
        (Value::List(one), Value::List(two))
        | (Value::Record(one), Value::Record(two))
        | (Value::Tuple(one), Value::Tuple(two)) => nodes(one, two),
        (Value::Variant(case_one, one), Value::Variant(case_two, two)) => {
            case_one == case_two && boxed(one, two)
        }
        (Value::Option(one), Value::Option(two))
        | (Value::Result(Ok(one)), Value::Result(Ok(two)))
        | (Value::Result(Err(one)), Value::Result(Err(two))) => boxed(one, two),
        (one, two) => one == two,
    }
}
