//! The directives of one file, carried out on actors.
//!
//! Owns the system, and the components and actors that a file has named. Expected messages of errors are not compared:
//! they are another implementation's words.

use std::collections::HashMap;
use std::error::Error;

use airssys_wasm::{
    Args, CacheLocation, Component, ComponentRef, Engine, EngineConfig, InstanceTemplate,
    LimitClass, TemplateSpec, Value, format_value,
};
use airssys_wasm_actors::{
    ActorAddress, ActorRef, CallError, ChildSpec, RestartPolicy, System, SystemConfig,
};
use wast::parser::{ParseBuffer, parse};
use wast::token::Id;
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

use crate::values::value;

/// How a directive ended.
pub(crate) enum Outcome {
    /// As the test says.
    Passed,
    /// Otherwise.
    Failed(String),
    /// Its component was not instantiated, which is a failure of an earlier directive.
    Unasked,
}

type Step = Result<(), Outcome>;

/// A running system, and what the current file has in it.
pub(crate) struct Suite {
    engine: Engine,
    system: System,
    spawned: u32,
    definitions: HashMap<String, Component>,
    last_definition: Option<Component>,
    actors: HashMap<String, ActorRef>,
    current: Option<ActorRef>,
}

impl Suite {
    /// Starts an engine of the default profile and a system.
    ///
    /// # Errors
    /// Either cannot be started.
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            ..EngineConfig::default()
        })?;
        let system = System::start(SystemConfig::new(engine.clone())).await?;
        Ok(Self {
            engine,
            system,
            spawned: 0,
            definitions: HashMap::new(),
            last_definition: None,
            actors: HashMap::new(),
            current: None,
        })
    }

    /// Carries a file out; the outcome of each directive with its line. Line 0 is the file itself.
    pub(crate) async fn file(&mut self, text: &str) -> Vec<(usize, Outcome)> {
        let unread = |error: wast::Error| vec![(0, Outcome::Failed(error.message()))];
        let buffer = match ParseBuffer::new(text) {
            Ok(buffer) => buffer,
            Err(error) => return unread(error),
        };
        let wast = match parse::<Wast<'_>>(&buffer) {
            Ok(wast) => wast,
            Err(error) => return unread(error),
        };
        let mut outcomes = Vec::with_capacity(wast.directives.len());
        for directive in wast.directives {
            let line = directive.span().linecol_in(text).0 + 1;
            outcomes.push((
                line,
                match self.directive(directive).await {
                    Ok(()) => Outcome::Passed,
                    Err(outcome) => outcome,
                },
            ));
        }
        for actor in self.actors.values().chain(&self.current) {
            actor.kill();
        }
        self.definitions.clear();
        self.actors.clear();
        self.current = None;
        self.last_definition = None;
        outcomes
    }

    async fn directive(&mut self, directive: WastDirective<'_>) -> Step {
        match directive {
            WastDirective::Module(mut module) => {
                self.current = None;
                let name = module.name().map(key);
                let component = self.define(&mut module)?;
                self.spawn(name, &component).await
            }
            WastDirective::ModuleDefinition(mut module) => {
                self.last_definition = None;
                self.define(&mut module).map(drop)
            }
            WastDirective::ModuleInstance {
                instance, module, ..
            } => {
                self.current = None;
                let component = match module {
                    Some(name) => self.definitions.get(&key(name)),
                    None => self.last_definition.as_ref(),
                };
                let component = component.ok_or(Outcome::Unasked)?.clone();
                self.spawn(instance.map(key), &component).await
            }
            WastDirective::AssertMalformed { mut module, .. }
            | WastDirective::AssertInvalid { mut module, .. } => match module.encode() {
                Err(_) => Ok(()),
                Ok(bytes) => match self.engine.load(&ComponentRef::Bytes(bytes.into())) {
                    Err(_) => Ok(()),
                    Ok(_) => Err(failed("was loaded")),
                },
            },
            WastDirective::Invoke(invoke) => self.invoke(&invoke).await?.map(drop).map_err(said),
            WastDirective::AssertReturn { exec, results, .. } => {
                let WastExecute::Invoke(invoke) = exec else {
                    return Err(failed("not an `invoke`"));
                };
                let returned = self.invoke(&invoke).await?.map_err(said)?;
                self.compare(&invoke, &returned, &results)
            }
            WastDirective::AssertTrap { exec, .. } => match exec {
                WastExecute::Invoke(invoke) => match self.invoke(&invoke).await? {
                    Err(CallError::CalleeDied { .. } | CallError::Stopped { .. }) => Ok(()),
                    Err(other) => Err(failed(format!("did not trap: {other}"))),
                    Ok(results) => Err(failed(format!("returned {:?}", results.values()))),
                },
                WastExecute::Wat(wat) => {
                    let component = self.define(&mut QuoteWat::Wat(wat))?;
                    match self.spawn(None, &component).await {
                        Err(_) => Ok(()),
                        Ok(()) => Err(failed("was instantiated")),
                    }
                }
                WastExecute::Get { .. } => Err(failed("not an `invoke`")),
            },
            _ => Err(failed("a directive of core modules")),
        }
    }

    fn define(&mut self, module: &mut QuoteWat<'_>) -> Result<Component, Outcome> {
        let name = module.name().map(key);
        let bytes = module.encode().map_err(|error| failed(error.message()))?;
        let component = self
            .engine
            .load(&ComponentRef::Bytes(bytes.into()))
            .map_err(said)?;
        if let Some(name) = name {
            self.definitions.insert(name, component.clone());
        }
        self.last_definition = Some(component.clone());
        Ok(component)
    }

    async fn spawn(&mut self, name: Option<String>, component: &Component) -> Step {
        if let Some(last) = self.current.take() {
            last.kill();
        }
        let limits = LimitClass::Trusted.limits();
        let spec = TemplateSpec {
            limits,
            ..TemplateSpec::new("reference")
        };
        let template = InstanceTemplate::link(component, spec).map_err(said)?;
        self.spawned += 1;
        let address: ActorAddress = format!("suite/{}", self.spawned).parse().map_err(said)?;
        let child = ChildSpec {
            restart: RestartPolicy::Temporary,
            ..ChildSpec::component(address, template)
        };
        let actor = self.system.spawn(child).await.map_err(said)?;
        if let Some(name) = name {
            self.actors.insert(name, actor.clone());
        }
        self.current = Some(actor);
        Ok(())
    }

    fn actor(&self, invoke: &WastInvoke<'_>) -> Result<&ActorRef, Outcome> {
        let actor = match invoke.module {
            Some(name) => self.actors.get(&key(name)),
            None => self.current.as_ref(),
        };
        actor.ok_or(Outcome::Unasked)
    }

    /// Sends the message; the outer error is what kept it from being sent.
    async fn invoke(&self, invoke: &WastInvoke<'_>) -> Result<Result<Args, CallError>, Outcome> {
        let function = self.actor(invoke)?.function(invoke.name).map_err(said)?;
        let ty = function.ty().ok_or_else(|| failed("no such function"))?;
        let mut args = Vec::with_capacity(invoke.args.len());
        for (written, (_, ty)) in invoke.args.iter().zip(&ty.params) {
            let WastArg::Component(written) = written else {
                return Err(failed("a core argument"));
            };
            args.push(value(written, ty).ok_or_else(|| failed(format!("{written:?} is no {ty}")))?);
        }
        Ok(function.call(args.into_iter().collect::<Args>()).await)
    }

    fn compare(&self, invoke: &WastInvoke<'_>, returned: &Args, wanted: &[WastRet<'_>]) -> Step {
        let function = self.actor(invoke)?.function(invoke.name).map_err(said)?;
        let result = function.ty().and_then(|ty| ty.result.clone());
        match (returned.values(), wanted, result) {
            ([], [], None) => Ok(()),
            ([found], [WastRet::Component(wanted)], Some(ty)) => {
                let shown = |value: &Value| format_value(value, &ty);
                match value(wanted, &ty) {
                    Some(wanted) if shown(&wanted) == shown(found) => Ok(()),
                    Some(wanted) => Err(failed(format!(
                        "returned {}, not {}",
                        shown(found),
                        shown(&wanted)
                    ))),
                    None => Err(failed(format!("{wanted:?} is no {ty}"))),
                }
            }
            (found, wanted, _) => Err(failed(format!("returned {found:?}, not {wanted:?}"))),
        }
    }
}

fn key(id: Id<'_>) -> String {
    id.name().to_owned()
}

fn failed(why: impl Into<String>) -> Outcome {
    Outcome::Failed(why.into())
}

/// An error with what is behind it, in one line.
fn said(error: impl Error) -> Outcome {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    failed(text.replace('\n', " "))
}
