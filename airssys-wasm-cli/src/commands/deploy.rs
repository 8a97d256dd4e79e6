//! `airssys deploy`, `plan`, `promote`, `pause`, `resume`, `rollback`, `cancel` and `scale`: what a running application is made of.
//!
//! Owns the wait for the end of a deployment, and what its end means for the exit code. The host does it all: ending the
//! wait ends nothing.

use std::cell::Cell;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use airssys_wasm_actors::ApplicationSpec;
use airssys_wasm_console::api::{
    CancelRequest, CurrentDeployment, DeployAnswer, DeployPhase, DeployRequest, EndView, NoteView,
    RollbackRequest, RolloutWords, ScaleRequest,
};
use airssys_wasm_console::{ControlClient, ControlError};

use super::control::{self, ask, ask_to_deploy};
use super::status;
use crate::args::{
    Cancel, Deploy, Format, Globals, Newest, Plan, Rollback, RolloutArgs, Scale, Target,
};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::signals::Signals;
use crate::text::printable;

/// How often a host is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn deploy(globals: &Globals, deploy: &Deploy) -> Result<ExitCode, Failure> {
    let manifest = std::path::absolute(&deploy.manifest).map_err(|error| {
        let what = format!("{}: {error}", deploy.manifest.display());
        Failure::new(FailureKind::Io, what)
    })?;
    let manifest = manifest.to_str().ok_or_else(|| {
        let what = format!("{} is not UTF-8", deploy.manifest.display());
        Failure::new(FailureKind::Usage, what)
    })?;
    let request = DeployRequest {
        manifest: manifest.to_owned(),
        rollout: words(&deploy.rollout),
        by: user(),
        why: deploy.why.clone().unwrap_or_default(),
        queue: deploy.queue,
        plan_only: deploy.plan,
    };
    let follow = Follow::new(globals, deploy.detach);
    let target = of_manifest(&deploy.target, &deploy.manifest);
    let answer = follow.ask(&target, async |client| {
        let begun = client.deploy(&request).await?;
        follow.to_the_end(&client, begun).await
    })?;
    follow.ended(answer)
}

/// Where several hosts run and none is named, the manifest says which application is meant. One that is wrong is
/// refused with its faults by whoever is asked.
fn of_manifest(target: &Target, manifest: &Path) -> Target {
    let spec = ApplicationSpec::read(manifest).ok();
    Target {
        meant: spec.map(|spec| spec.tables.application.name.into_inner()),
        ..target.clone()
    }
}

pub(super) fn plan(globals: &Globals, plan: Plan) -> Result<ExitCode, Failure> {
    let Plan {
        manifest,
        rollout,
        target,
    } = plan;
    let planned = Deploy {
        manifest,
        plan: true,
        rollout,
        why: None,
        queue: false,
        detach: false,
        target,
    };
    deploy(globals, &planned)
}

pub(super) fn rollback(globals: &Globals, rollback: &Rollback) -> Result<ExitCode, Failure> {
    let request = RollbackRequest {
        to: rollback.to,
        rollout: words(&rollback.rollout),
        by: user(),
        why: rollback.why.clone().unwrap_or_default(),
        queue: rollback.queue,
        plan_only: rollback.plan,
    };
    let follow = Follow::new(globals, rollback.detach);
    let answer = follow.ask(&rollback.target, async |client| {
        let begun = client.roll_back(&request).await?;
        follow.to_the_end(&client, begun).await
    })?;
    // One that was under way and is not any more is what was asked for, also where it had not switched anything yet.
    let undone = |end: &EndView| end.outcome != "permanent" && end.stuck.is_empty();
    let end = answer
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.end.as_ref());
    if answer.plan.is_none() && end.is_some_and(undone) {
        follow.print(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    follow.ended(answer)
}

pub(super) fn scale(globals: &Globals, scale: &Scale) -> Result<ExitCode, Failure> {
    let request = ScaleRequest {
        component: scale.component.clone(),
        replicas: scale.replicas,
        discard_state: scale.discard_state,
        by: user(),
        why: scale.why.clone().unwrap_or_default(),
        queue: scale.queue,
        plan_only: scale.plan,
    };
    let follow = Follow::new(globals, scale.detach);
    let answer = follow.ask(&scale.target, async |client| {
        let begun = client.scale(&request).await?;
        follow.to_the_end(&client, begun).await
    })?;
    follow.ended(answer)
}

pub(super) fn promote(globals: &Globals, newest: &Newest) -> Result<ExitCode, Failure> {
    let current = ask(&newest.target, async |client| client.promote().await)?;
    shown(globals, &current)
}

pub(super) fn pause(globals: &Globals, newest: &Newest) -> Result<ExitCode, Failure> {
    let current = ask(&newest.target, async |client| client.pause().await)?;
    shown(globals, &current)
}

pub(super) fn resume(globals: &Globals, newest: &Newest) -> Result<ExitCode, Failure> {
    let current = ask(&newest.target, async |client| client.resume().await)?;
    shown(globals, &current)
}

pub(super) fn cancel(globals: &Globals, cancel: &Cancel) -> Result<ExitCode, Failure> {
    let request = CancelRequest {
        order: cancel.order,
        by: user(),
        why: cancel.why.clone().unwrap_or_default(),
    };
    let cancelled = ask(&cancel.target, async |client| client.cancel(&request).await)?;
    control::print(globals, &cancelled, |order| {
        format!("cancelled: {}\n", status::order(order))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn shown(globals: &Globals, current: &CurrentDeployment) -> Result<ExitCode, Failure> {
    control::print(globals, current, |current| {
        current
            .rollout
            .as_ref()
            .map_or_else(String::new, status::progress)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn words(args: &RolloutArgs) -> RolloutWords {
    let RolloutArgs {
        strategy,
        steps,
        soak,
        max_surge,
        max_unavailable,
        share,
        pause,
        sticky,
        state,
        keep_sources,
    } = args.clone();
    RolloutWords {
        strategy,
        steps,
        soak,
        max_surge,
        max_unavailable,
        share,
        pause,
        sticky,
        state,
        keep_sources,
    }
}

/// Who runs the command, as the environment says.
pub(super) fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter();
    let mut named = named.filter_map(|name| std::env::var(name).ok());
    named
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Says how a deployment goes on.
pub(super) struct Follow<'a> {
    globals: &'a Globals,
    detach: bool,
    /// The host has taken it on.
    begun: Cell<bool>,
    /// The number that cancels it, until it begins.
    order: Cell<Option<u64>>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(globals: &'a Globals, detach: bool) -> Self {
        Self {
            globals,
            detach,
            begun: Cell::new(false),
            order: Cell::new(None),
        }
    }

    /// Asks for a deployment. Where its host goes while it is waited for, or a signal ends the wait, what becomes of it is
    /// said.
    pub(super) fn ask<F: Future<Output = Result<DeployAnswer, ControlError>>>(
        &self,
        target: &Target,
        question: impl FnOnce(ControlClient) -> F,
    ) -> Result<DeployAnswer, Failure> {
        let asked = ask_to_deploy(target, async |client| {
            let mut signals = match Signals::listen() {
                Ok(signals) => signals,
                Err(failure) => return Ok(Err(failure)),
            };
            tokio::select! {
                biased;
                answer = question(client) => answer.map(Ok),
                kind = signals.next() => Ok(Err(self.left(kind))),
            }
        });
        asked.unwrap_or_else(Err).map_err(|failure| {
            let gone = failure.is_detail("control", &["not-listening", "connect", "garbled"]);
            if gone && self.begun.get() {
                failure.hint(LEFT)
            } else {
                failure
            }
        })
    }

    /// What a signal makes of the wait.
    fn left(&self, kind: FailureKind) -> Failure {
        if !self.begun.get() {
            return Failure::new(kind, "stopped by a signal before the host answered")
                .hint("`airssys status` shows whether it has taken the order");
        }
        let failure = Failure::new(
            kind,
            "stopped waiting by a signal: the deployment goes on without it",
        );
        match self.order.get() {
            Some(order) => failure.detail("order", order).hint(format!(
                "`airssys status` shows it, and `airssys cancel {order}` takes it out of the line"
            )),
            None => failure.hint("`airssys status` shows it"),
        }
    }

    fn people(&self) -> bool {
        self.globals.format == Format::Text
    }

    fn say(&self, text: &str) {
        if self.people() {
            // Whoever does not listen any more still gets the exit code.
            let _ = output::print(text);
        }
    }

    fn print(&self, answer: &DeployAnswer) -> Result<(), Failure> {
        if self.people() {
            return Ok(());
        }
        control::print(self.globals, answer, |_| String::new())
    }

    /// Waits until nothing follows, or with `--detach` until it is not being checked any more.
    pub(super) async fn to_the_end(
        &self,
        client: &ControlClient,
        mut answer: DeployAnswer,
    ) -> Result<DeployAnswer, ControlError> {
        self.begun.set(true);
        let mut said = Said::default();
        loop {
            // A host before 1.7 says it of one that waits.
            self.order.set(answer.order.or(answer.waiting));
            self.say(&said.news(&answer));
            let enough = self.detach && answer.phase != DeployPhase::Checking;
            if answer.phase.is_final() || enough {
                return Ok(answer);
            }
            tokio::time::sleep(ASK_EVERY).await;
            answer = client.deploy_request(answer.request).await?;
        }
    }

    /// What the end means.
    pub(super) fn ended(&self, answer: DeployAnswer) -> Result<ExitCode, Failure> {
        if let Some(refusal) = answer.refusal {
            return Err(control::refused(refusal));
        }
        self.print(&answer)?;
        let end = answer.rollout.and_then(|rollout| rollout.end);
        let Some(end) = end.filter(|end| end.outcome != "permanent") else {
            if self.detach && !answer.phase.is_final() {
                self.say("it goes on: see `airssys status`\n");
            }
            return Ok(ExitCode::SUCCESS);
        };
        let reason = end.reason.unwrap_or_default();
        let what = match end.outcome.as_str() {
            "rolled-back" => format!("the deployment was rolled back: {reason}"),
            _ => format!("the deployment failed: {reason}"),
        };
        let failure = Failure::new(FailureKind::RolledBack, what)
            .detail("outcome", end.outcome)
            .detail("stuck", end.stuck.clone());
        Err(match end.stuck.as_slice() {
            [] => failure.hint("the old revisions serve"),
            stuck => failure.hint(format!(
                "not switched back: {}; deploy the manifest that is to serve, the one before or this one: what is stuck is replaced",
                stuck.join("; ")
            )),
        })
    }
}

/// What becomes of a deployment whose host has gone. How far it was by then, nobody knows who was not told.
const LEFT: &str = "the host has ended, and the deployment with it: started again with `--state`, it rolls back what was \
                    recorded and not permanent, and says so; without `--state` it starts with its own manifest";

/// What of an order has been written already.
#[derive(Default)]
struct Said {
    plan: Option<String>,
    waits: bool,
    notes: Vec<NoteView>,
}

impl Said {
    /// What is new of it.
    fn news(&mut self, answer: &DeployAnswer) -> String {
        let mut text = String::new();
        if let Some(plan) = &answer.text
            && self.plan.as_ref() != Some(plan)
        {
            for line in plan.lines() {
                text.push_str(&format!("{}\n", printable(line)));
            }
            self.plan = Some(plan.clone());
        }
        if answer.phase == DeployPhase::Waiting && !self.waits {
            self.waits = true;
            text.push_str("waiting for the deployment that is under way");
            if let Some(order) = answer.waiting {
                text.push_str(&format!(
                    ", as order {order}: `airssys cancel {order}` takes it out of the line"
                ));
            }
            text.push('\n');
        }
        let notes = answer.rollout.as_ref().map(|rollout| &rollout.log);
        let notes = notes.map(Vec::as_slice).unwrap_or_default();
        // The oldest may have been forgotten since.
        let known = self.notes.last().and_then(|last| {
            let found = notes.iter().rposition(|note| note == last);
            found.map(|at| at + 1)
        });
        for note in notes.iter().skip(known.unwrap_or(0)) {
            text.push_str(&format!("{}\n", printable(&note.what)));
        }
        self.notes = notes.to_vec();
        text
    }
}
