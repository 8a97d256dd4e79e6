//! A native actor that does next to nothing: what a child costs is then its supervision.

use airssys_wasm::{FromArgs, Surface, WitError};
use airssys_wasm_actors::{Actor, ActorFunction, ActorRef, ChildSpec, Context, Message};

use super::address;
use crate::error::{BenchError, OrFailed};

/// Answers `add-one`.
pub(crate) struct Echo;

impl Actor for Echo {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package bench:native; interface echo { add-one: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        let (n,): (u32,) = message.args()?;
        message.reply((n.wrapping_add(1),));
        Ok(())
    }
}

/// So many children, called `name/0` and so on. Their WIT is read once: clones share what it says.
pub(crate) fn echoes(name: &str, many: u64) -> Result<Vec<ChildSpec>, BenchError> {
    let spec = ChildSpec::native(address(name)?, || Echo);
    (0..many)
        .map(|number| {
            Ok(ChildSpec {
                address: address(&format!("{name}/{number}"))?,
                ..spec.clone()
            })
        })
        .collect()
}

/// The one function of an [`Echo`].
pub(crate) fn add_one(actor: &ActorRef) -> Result<ActorFunction, BenchError> {
    actor.function("add-one").or_failed("resolving add-one")
}

/// Calls it, and looks at the answer.
pub(crate) async fn ask(add_one: &ActorFunction) -> Result<(), BenchError> {
    let reply = add_one.call((2_u32,)).await.or_failed("calling an echo")?;
    crate::scenarios::expect("an echo", <(u32,)>::from_args(reply), Ok((3,)))
}
