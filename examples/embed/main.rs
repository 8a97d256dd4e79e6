//! Embeds a system of actors in a program: one component and one native actor that call each other,
//! and a restart.
//!
//! Run it with `cargo run --example embed`.

use std::error::Error;

use airssys_wasm::{
    ComponentRef, Engine, EngineConfig, InstanceTemplate, LinkedImport, Surface, TemplateSpec,
    WitError,
};
use airssys_wasm_actors::{
    Actor, CallError, ChildSpec, Context, Event, Link, Message, System, SystemConfig,
};

/// A native actor: it keeps a sum. Its functions have WIT types, so a component can call them.
#[derive(Default)]
struct Ledger(u32);

impl Actor for Ledger {
    type Error = Box<dyn Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        let wit = "package embed:demo@0.1.0;
            interface ledger { add: func(n: u32) -> u32; add-square: func(n: u32) -> u32; }";
        Surface::from_wit(wit)
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (mut n,): (u32,) = message.args()?;
        if message.function() == "add-square" {
            let squared = ctx.call_by_name(&"abacus".parse()?, "square", (n,)).await?;
            (n,) = squared.into_typed()?;
        }
        self.0 += n;
        message.reply((self.0,));
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Bytes become a component, and a component a template: compiled once, linked once.
    let engine = Engine::new(EngineConfig::default())?;
    let bytes = wat::parse_str(include_str!("abacus.wat"))?;
    let component = engine.load(&ComponentRef::Bytes(bytes.into()))?;
    let links = vec![LinkedImport::new("embed:demo/ledger@0.1.0")];
    let spec = TemplateSpec {
        links,
        ..TemplateSpec::new("abacus")
    };
    let template = InstanceTemplate::link(&component, spec)?;

    // Both run as supervised actors; the component's import leads to the native actor.
    let system = System::start(SystemConfig::new(engine)).await?;
    let mut events = system.events();
    let ledger = system
        .spawn(ChildSpec::native("ledger".parse()?, Ledger::default))
        .await?;
    let link = Link::new("embed:demo/ledger@0.1.0", "ledger".parse()?);
    let abacus = system
        .spawn(ChildSpec::component("abacus".parse()?, template).link(link))
        .await?;

    println!(
        "component → native: {:?}",
        abacus.call("post", (5_u32,)).await?.values()
    );
    println!(
        "native → component: {:?}",
        ledger.call("add-square", (6_u32,)).await?.values()
    );

    // A trap ends the instance, its caller is told, and the supervisor starts another.
    match abacus.call("fail", ()).await {
        Err(CallError::CalleeDied { reason, .. }) => println!("the guest failed: {reason}"),
        other => println!("unexpected: {other:?}"),
    }
    println!(
        "the restarted one:  {:?}",
        abacus.call("post", (1_u32,)).await?.values()
    );
    while let Some(event) = events.recv().await {
        println!("event: {event:?}");
        if matches!(event, Event::Started { incarnation: 2, .. }) {
            break;
        }
    }
    system.shutdown().await;
    Ok(())
}
