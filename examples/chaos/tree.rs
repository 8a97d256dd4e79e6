//! The tree: a hundred supervisors of ten actors each, ten above them, one above all.
//!
//! Every other actor is a goal, and the one after it a relay that is linked to it. The goal of a relay is in another
//! branch, so that calls cross the whole tree. Strategies take turns on both levels.

use std::error::Error;
use std::time::Duration;

use airssys_wasm::{
    ComponentRef, Engine, ErrorCarry, InstanceTemplate, Limits, LinkedImport, TemplateSpec,
};
use airssys_wasm_actors::{
    ActorFunction, ActorRef, ChildSpec, Link, RestartIntensity, Strategy, Supervisor,
    SupervisorSpec, System,
};

/// Supervisors below the one above all, and supervisors below each of those.
const BRANCHES: u32 = 10;
const LEAVES: u32 = 10;
/// Actors of each supervisor at the bottom.
const ACTORS_EACH: u32 = 10;
/// Actors in all.
pub(crate) const ACTORS: u32 = BRANCHES * LEAVES * ACTORS_EACH;
/// Supervisors in all.
pub(crate) const SUPERVISORS: usize = (1 + BRANCHES + BRANCHES * LEAVES) as usize;

/// Nobody gives up: what is asked is whether the tree comes back, not when it may stop trying.
pub(crate) const OFTEN: RestartIntensity = RestartIntensity {
    max: u32::MAX,
    within: Duration::from_secs(1),
};

const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];

/// The one interface.
const ORDER: &str = "test:t/order";

/// What is killed and called.
pub(crate) struct Tree {
    pub(crate) top: Supervisor,
    /// All of them, the top included.
    pub(crate) supervisors: Vec<Supervisor>,
    pub(crate) actors: Vec<ActorRef>,
    /// `put` of each of them.
    pub(crate) functions: Vec<ActorFunction>,
}

impl Tree {
    pub(crate) async fn start(system: &System, engine: &Engine) -> Result<Self, Box<dyn Error>> {
        let goal = template(engine, include_str!("goal.wat"), &[])?;
        let relay = template(engine, include_str!("relay.wat"), &[ORDER])?;
        let mut number = 0;
        let mut branches = Vec::new();
        for branch in 0..BRANCHES {
            let mut leaves = Vec::new();
            for leaf in 0..LEAVES {
                let mut actors = Vec::new();
                for _ in 0..ACTORS_EACH {
                    let address = name(number).parse()?;
                    actors.push(if number % 2 == 0 {
                        ChildSpec::component(address, goal.clone())
                    } else {
                        // Half the tree further on.
                        let to = name((number - 1 + ACTORS / 2) % ACTORS).parse()?;
                        ChildSpec::component(address, relay.clone()).link(Link::new(ORDER, to))
                    });
                    number += 1;
                }
                let name = format!("chaos/{branch}/{leaf}");
                leaves.push(supervisor(&name, branch + leaf, actors)?);
            }
            let leaves = leaves.into_iter().map(ChildSpec::supervisor).collect();
            branches.push(supervisor(&format!("chaos/{branch}"), branch, leaves)?);
        }
        let branches = branches.into_iter().map(ChildSpec::supervisor).collect();
        let top = system.supervise(supervisor("chaos", 0, branches)?).await?;
        let mut tree = Self {
            supervisors: all_below(&top),
            top,
            actors: Vec::new(),
            functions: Vec::new(),
        };
        for number in 0..ACTORS {
            let actor = system.whereis(&name(number).parse()?);
            let actor = actor.ok_or("an actor has not been started")?;
            tree.functions.push(actor.function("put")?);
            tree.actors.push(actor);
        }
        Ok(tree)
    }
}

/// The supervisor and all below it.
pub(crate) fn all_below(top: &Supervisor) -> Vec<Supervisor> {
    let below = top.supervisors().into_iter();
    let below = below.flat_map(|one| all_below(&one));
    std::iter::once(top.clone()).chain(below).collect()
}

/// Whether an actor of that number is a relay, which nobody but the senders calls.
pub(crate) fn is_relay(number: usize) -> bool {
    number % 2 == 1
}

fn name(number: u32) -> String {
    format!("actor/{number}")
}

fn supervisor(
    name: &str,
    turn: u32,
    children: Vec<ChildSpec>,
) -> Result<SupervisorSpec, Box<dyn Error>> {
    let strategy = STRATEGIES.iter().cycle().nth(turn as usize);
    Ok(SupervisorSpec {
        strategy: strategy.copied().unwrap_or_default(),
        intensity: OFTEN,
        children,
        ..SupervisorSpec::new(name.parse()?)
    })
}

fn template(
    engine: &Engine,
    text: &str,
    links: &[&str],
) -> Result<InstanceTemplate, Box<dyn Error>> {
    let bytes = wat::parse_str(text)?;
    let component = engine.load(&ComponentRef::Bytes(bytes.into()))?;
    let linked = |import: &&str| LinkedImport {
        error_as: Some(ErrorCarry::Text),
        ..LinkedImport::new(*import)
    };
    // A relay waits for a goal that is killed and started again on a busy machine: that is not to be its own end.
    let limits = Limits {
        cpu_per_call: Duration::from_secs(60),
        wall_per_call: Duration::from_secs(600),
        ..Limits::default()
    };
    let spec = TemplateSpec {
        links: links.iter().map(linked).collect(),
        limits,
        ..TemplateSpec::new("chaos")
    };
    Ok(InstanceTemplate::link(&component, spec)?)
}
