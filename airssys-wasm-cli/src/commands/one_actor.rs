//! `airssys kill`, `restart` and `stop`: one actor of a running application.

use std::process::ExitCode;

use super::control::{ask, print, quoted};
use crate::args::{Globals, OneActor};
use crate::failure::Failure;

const KILLED: &str = "; its time was up, and it was killed";

pub(super) fn kill(globals: &Globals, actor: &OneActor) -> Result<ExitCode, Failure> {
    let address = &actor.address;
    let answer = ask(&actor.target, async |client| client.kill(address).await)?;
    print(globals, &answer, |answer| {
        format!(
            "{}: incarnation {} was killed\n",
            quoted(&answer.address),
            answer.incarnation
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restart(globals: &Globals, actor: &OneActor) -> Result<ExitCode, Failure> {
    let address = &actor.address;
    let answer = ask(&actor.target, async |client| client.restart(address).await)?;
    print(globals, &answer, |answer| {
        format!(
            "{}: incarnation {} is {}{}\n",
            quoted(&answer.address),
            answer.incarnation,
            crate::text::printable(&answer.state),
            if answer.killed { KILLED } else { "" }
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn stop(globals: &Globals, actor: &OneActor) -> Result<ExitCode, Failure> {
    let address = &actor.address;
    let answer = ask(&actor.target, async |client| client.stop(address).await)?;
    print(globals, &answer, |answer| {
        format!(
            "{} has been stopped{}\n",
            quoted(&answer.address),
            if answer.killed { KILLED } else { "" }
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
