//! The functions of `airssys:messaging` and `airssys:actor/spawn`, as a guest calls them.
//!
//! Each lifts its arguments as a linked import does, asks the gate, and hands a [`MessagingRequest`] to the instance's
//! plane; the guest's fiber waits until that answers, so that a call suspends the guest and nobody else. What the gate
//! or the plane refuses is a typed error of the function, never a trap.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::Linker;

use super::request::{MessagingError, MessagingRequest, Overflow, results, spawn_results};
use super::{INTERFACES, SPAWN, TopicPattern, check_topic};
use crate::args::{Args, FromArgs};
use crate::dynamic::define_import;
use crate::gate::{Access, Decision};
use crate::host::HostState;
use crate::surface::{ImportId, Surface};
use crate::value::Value;

/// Imports with this number or a higher one are functions of the plane; no component has so many of its own.
const FIRST: usize = 1 << 30;

/// In the order of [`FUNCTIONS`].
#[derive(Clone, Copy, Debug)]
enum Function {
    OwnAddress,
    Cast,
    Call,
    Reply,
    Publish,
    Subscribe,
    Unsubscribe,
    SendAfter,
    Interval,
    Cancel,
    Spawn,
    StopChild,
    Children,
}

/// The first of the functions of `airssys:actor/spawn`, whose errors are its own.
const FIRST_OF_SPAWN: usize = 10;

const FUNCTIONS: [(Function, &str); 13] = [
    (Function::OwnAddress, "self"),
    (Function::Cast, "cast"),
    (Function::Call, "call"),
    (Function::Reply, "reply"),
    (Function::Publish, "publish"),
    (Function::Subscribe, "subscribe"),
    (Function::Unsubscribe, "unsubscribe"),
    (Function::SendAfter, "send-after"),
    (Function::Interval, "interval"),
    (Function::Cancel, "cancel"),
    (Function::Spawn, "spawn"),
    (Function::StopChild, "stop"),
    (Function::Children, "children"),
];

/// Defines the importable interfaces; `surface` has both packages.
pub(crate) fn define(linker: &mut Linker<HostState>, surface: &Surface) -> wasmtime::Result<()> {
    for name in INTERFACES.into_iter().chain([SPAWN]) {
        let Some(interface) = surface.exported_interface(name) else {
            wasmtime::bail!("the package has no `{name}`");
        };
        if interface.functions.is_empty() {
            continue;
        }
        let mut at = linker.instance(name)?;
        for function in &interface.functions {
            let Some(number) = FUNCTIONS
                .iter()
                .position(|(_, name)| *name == function.name)
            else {
                wasmtime::bail!("`{name}` has an unknown function `{}`", function.name);
            };
            let id = ImportId::from_index(FIRST.saturating_add(number));
            define_import(&mut at, &function.name, id, &function.ty)?;
        }
    }
    Ok(())
}

/// Whether an import is a function of the plane.
pub(crate) fn is_ours(id: ImportId) -> bool {
    id.index() >= FIRST
}

/// Reads the arguments, asks the gate, and starts the request.
#[inline(never)]
pub(crate) fn start(host: &mut HostState, id: ImportId, args: Args) -> wasmtime::Result<()> {
    let number = id.index().saturating_sub(FIRST);
    let Some((function, _)) = FUNCTIONS.get(number) else {
        wasmtime::bail!("the messaging plane has no function {number}");
    };
    match request(host, *function, args)? {
        Ok(request) => match host.messaging() {
            Some(plane) => plane.start(request),
            None => {
                let why = "this instance was started without the messaging plane".to_owned();
                host.refuse_message(MessagingError::Denied(why));
            }
        },
        Err(refused) => host.refuse_message(refused),
    }
    Ok(())
}

/// The answer to the request started last.
#[inline(never)]
pub(crate) fn poll(host: &mut HostState, id: ImportId, cx: &mut Context<'_>) -> Poll<Args> {
    let results = if id.index().saturating_sub(FIRST) < FIRST_OF_SPAWN {
        results
    } else {
        spawn_results
    };
    if let Some(refused) = host.refused_message() {
        return Poll::Ready(results(Err(refused)));
    }
    match host.messaging() {
        Some(plane) => plane.poll(cx).map(results),
        None => Poll::Ready(results(Err(MessagingError::NoSuchActor))),
    }
}

type Read<T> = wasmtime::Result<Result<T, MessagingError>>;

fn typed<T: FromArgs>(args: Args) -> wasmtime::Result<T> {
    Ok(T::from_args(args)?)
}

fn request(host: &mut HostState, function: Function, args: Args) -> Read<MessagingRequest> {
    let allowed = |host: &mut HostState, access: Access<'_>| match host.gate.check(access) {
        Decision::Allow => Ok(()),
        Decision::Deny { add } => Err(MessagingError::Denied(add)),
    };
    Ok(match function {
        Function::OwnAddress => {
            allowed(host, Access::Message).map(|()| MessagingRequest::OwnAddress)
        }
        Function::Cast => {
            let (to, payload): (Box<str>, Bytes) = typed(args)?;
            allowed(host, Access::Send { to: &to }).map(|()| MessagingRequest::Cast { to, payload })
        }
        Function::Call => {
            let (to, payload, within): (Box<str>, Bytes, u64) = typed(args)?;
            allowed(host, Access::Send { to: &to }).map(|()| MessagingRequest::Call {
                to,
                payload,
                within: Duration::from_nanos(within),
            })
        }
        Function::Reply => {
            let (call, payload): (u64, Bytes) = typed(args)?;
            allowed(host, Access::Message).map(|()| MessagingRequest::Reply { call, payload })
        }
        Function::Publish => {
            let (topic, payload): (Box<str>, Bytes) = typed(args)?;
            match check_topic(&topic) {
                Ok(()) => allowed(host, Access::Publish { topic: &topic })
                    .map(|()| MessagingRequest::Publish { topic, payload }),
                Err(error) => Err(MessagingError::BadName(error.to_string())),
            }
        }
        Function::Subscribe => {
            let (pattern, overflow): (Box<str>, Value) = typed(args)?;
            pattern_of(&pattern).and_then(|pattern| {
                allowed(host, Access::Subscribe { pattern: &pattern })?;
                let overflow = match overflow {
                    Value::Enum(1) => Overflow::Block,
                    Value::Enum(2) => Overflow::DropNewest,
                    Value::Enum(3) => Overflow::DropOldest,
                    _ => Overflow::Error,
                };
                Ok(MessagingRequest::Subscribe { pattern, overflow })
            })
        }
        Function::Unsubscribe => {
            let (pattern,): (Box<str>,) = typed(args)?;
            pattern_of(&pattern).and_then(|pattern| {
                allowed(host, Access::Message)?;
                Ok(MessagingRequest::Unsubscribe { pattern })
            })
        }
        Function::SendAfter => {
            let (delay, payload): (u64, Bytes) = typed(args)?;
            let delay = Duration::from_nanos(delay);
            allowed(host, Access::Timer).map(|()| MessagingRequest::SendAfter { delay, payload })
        }
        Function::Interval => {
            let (every, payload): (u64, Bytes) = typed(args)?;
            let every = Duration::from_nanos(every);
            allowed(host, Access::Timer).map(|()| MessagingRequest::Interval { every, payload })
        }
        Function::Cancel => {
            let (timer,): (u64,) = typed(args)?;
            allowed(host, Access::Timer).map(|()| MessagingRequest::Cancel { timer })
        }
        Function::Spawn => {
            let (component, name, config): (Box<str>, Box<str>, Vec<(String, String)>) =
                typed(args)?;
            let access = Access::Spawn {
                component: &component,
            };
            allowed(host, access).map(|()| MessagingRequest::Spawn {
                component,
                name,
                config,
            })
        }
        Function::StopChild => {
            let (name,): (Box<str>,) = typed(args)?;
            allowed(host, Access::Children).map(|()| MessagingRequest::StopChild { name })
        }
        Function::Children => allowed(host, Access::Children).map(|()| MessagingRequest::Children),
    })
}

fn pattern_of(text: &str) -> Result<TopicPattern, MessagingError> {
    text.parse()
        .map_err(|error: super::PatternSyntax| MessagingError::BadName(error.to_string()))
}

impl HostState {
    fn refuse_message(&mut self, error: MessagingError) {
        self.messaging_refused = Some(Box::new(error));
    }

    fn refused_message(&mut self) -> Option<MessagingError> {
        self.messaging_refused.take().map(|error| *error)
    }
}
