//! Random scenarios: the same seed and number make the same one.
//!
//! What they keep clear of, because OTP leaves the outcome to chance or fails over it: a stubborn worker with
//! endless time; a supervisor that is given less time than its children take; a dynamic child that declines to
//! start again (OTP 25 keeps a child that is no process, and crashes when it stops); a live change of a
//! dynamic supervisor, or into one; a message other than a kill to a supervisor.

use super::scenario::{
    Ask, AutoShutdown, Body, Def, DefId, End, Hook, HookAction, Outcome, Restart, Scenario,
    Shutdown, ShutdownAnswer, Step, Strategy, SupervisorDef,
};
use crate::stress::Random;

const DEPTH_MAX: u32 = 3;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const ENDS: [End; 5] = [
    End::Normal,
    End::Shutdown,
    End::ShutdownTerm,
    End::Killed,
    End::Crash,
];

pub(crate) fn scenario(seed: u64, number: u32) -> Scenario {
    let mut generator = Generator {
        random: Random::new(seed, number),
        scenario: Scenario::default(),
        known: Known::default(),
        spawned: 0,
    };
    generator.fill();
    generator.scenario
}

/// Paths that may run something, and what.
#[derive(Default)]
struct Known {
    workers: Vec<String>,
    supervisors: Vec<(String, DefId)>,
}

struct Generator {
    random: Random,
    scenario: Scenario,
    known: Known,
    spawned: u32,
}

impl Generator {
    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())].clone()
    }

    fn fill(&mut self) {
        // The root is definition 0: its place is taken before its children are made.
        let strategy = self.strategy();
        let root = self.place("r");
        self.fill_supervisor(root, strategy, 1);
        self.know("r", root);
        for _ in 0..3 + self.random.below(8) {
            let step = self.step();
            self.scenario.steps.push(step);
        }
    }

    fn place(&mut self, id: &str) -> DefId {
        self.scenario.defs.push(Def {
            id: id.to_owned(),
            restart: Restart::Permanent,
            significant: false,
            shutdown: Shutdown::Infinity,
            body: Body::Worker(ShutdownAnswer::Obeys),
            starts: Vec::new(),
        });
        self.scenario.defs.len() - 1
    }

    fn strategy(&mut self) -> Strategy {
        self.one(&[
            Strategy::OneForOne,
            Strategy::OneForOne,
            Strategy::OneForAll,
            Strategy::OneForAll,
            Strategy::RestForOne,
            Strategy::RestForOne,
            Strategy::SimpleOneForOne,
        ])
    }

    fn fill_supervisor(&mut self, def: DefId, strategy: Strategy, depth: u32) {
        let auto = match self.random.below(10) {
            0..6 => AutoShutdown::Never,
            6..8 => AutoShutdown::AnySignificant,
            _ => AutoShutdown::AllSignificant,
        };
        let is_dynamic = strategy == Strategy::SimpleOneForOne;
        let count = match is_dynamic {
            true => 1,
            false => self.one(&[0, 1, 2, 2, 3, 3, 3, 4, 4, 5]),
        };
        let mut children = Vec::new();
        for &name in NAMES.iter().take(count) {
            // Now and then a name twice: refused as a whole.
            let name = if self.random.below(300) == 0 {
                "a"
            } else {
                name
            };
            children.push(self.child(name, auto, depth, is_dynamic));
        }
        let max = self.one(&[0, 1, 1, 2, 2, 3, 3, 4, 5]);
        self.scenario.defs[def].body = Body::Supervisor(SupervisorDef {
            strategy,
            max,
            auto,
            children,
        });
    }

    fn child(&mut self, id: &str, auto: AutoShutdown, depth: u32, is_dynamic: bool) -> DefId {
        let def = self.place(id);
        self.policy(def, auto);
        if depth < DEPTH_MAX && self.chance(25) {
            let strategy = self.strategy();
            self.fill_supervisor(def, strategy, depth + 1);
            self.scenario.defs[def].shutdown = match self.chance(15) {
                true => Shutdown::Brutal,
                false => Shutdown::Infinity,
            };
        } else {
            self.fill_worker(def);
        }
        self.scenario.defs[def].starts = self.starts(is_dynamic);
        if self.chance(30) {
            self.hook(def, is_dynamic);
        }
        def
    }

    fn policy(&mut self, def: DefId, auto: AutoShutdown) {
        let restart = match self.random.below(20) {
            0..9 => Restart::Permanent,
            9..15 => Restart::Transient,
            _ => Restart::Temporary,
        };
        let is_legal = auto != AutoShutdown::Never && restart != Restart::Permanent;
        self.scenario.defs[def].restart = restart;
        self.scenario.defs[def].significant = match is_legal {
            true => self.chance(60),
            false => self.random.below(200) == 0,
        };
    }

    fn fill_worker(&mut self, def: DefId) {
        let answer = match self.random.below(100) {
            0..80 => ShutdownAnswer::Obeys,
            80..88 => ShutdownAnswer::Crash,
            88..96 => ShutdownAnswer::Normal,
            _ => ShutdownAnswer::Stubborn,
        };
        let shutdown = match answer {
            _ if self.chance(20) => Shutdown::Brutal,
            ShutdownAnswer::Stubborn => Shutdown::Milliseconds(1),
            _ => self.one(&[Shutdown::Infinity, Shutdown::Milliseconds(60_000)]),
        };
        self.scenario.defs[def].body = Body::Worker(answer);
        self.scenario.defs[def].shutdown = shutdown;
    }

    fn starts(&mut self, is_dynamic: bool) -> Vec<Outcome> {
        if self.chance(50) {
            return Vec::new();
        }
        let count = 1 + self.random.below(5);
        let outcomes = (0..count).map(|at| match self.random.below(100) {
            0..4 => Outcome::Failed,
            4..8 if !is_dynamic || at == 0 => Outcome::Ignored,
            8..38 if at > 0 => Outcome::Failed,
            38..46 if at > 0 && !is_dynamic => Outcome::Ignored,
            _ => Outcome::Started,
        });
        outcomes.collect()
    }

    fn hook(&mut self, def: DefId, is_dynamic: bool) {
        let attempt = 2 + u32::try_from(self.random.below(3)).unwrap();
        if self.chance(60) {
            // What happens while it is `restarting` is the point of most.
            let starts = &mut self.scenario.defs[def].starts;
            starts.resize(starts.len().max(attempt as usize), Outcome::Started);
            starts[attempt as usize - 1] = Outcome::Failed;
        }
        for _ in 0..1 + self.random.below(2) {
            let sibling = match self.chance(50) {
                true => ".".to_owned(),
                false => self.one(&NAMES).to_owned(),
            };
            let action = match self.random.below(10) {
                0..2 => HookAction::Ask(Ask::Which),
                2 => HookAction::Ask(Ask::Count),
                3 | 4 => HookAction::Ask(Ask::Terminate(match is_dynamic {
                    true => ".".to_owned(),
                    false => sibling,
                })),
                5 => HookAction::Ask(Ask::Restart(sibling)),
                6 => HookAction::Ask(Ask::Delete(sibling)),
                _ if is_dynamic => HookAction::Ask(Ask::Which),
                _ => HookAction::Exit(sibling, self.one(&ENDS)),
            };
            self.scenario.hooks.push(Hook {
                def,
                attempt,
                action,
            });
        }
    }

    /// What may run from now on at the path and below it.
    fn know(&mut self, path: &str, def: DefId) {
        let Some(sup) = self.scenario.supervisor(def).cloned() else {
            self.known.workers.push(path.to_owned());
            return;
        };
        self.known.supervisors.push((path.to_owned(), def));
        if sup.strategy != Strategy::SimpleOneForOne {
            for child in sup.children {
                let id = self.scenario.defs[child].id.clone();
                self.know(&format!("{path}/{id}"), child);
            }
        }
    }

    fn step(&mut self) -> Step {
        if !self.known.workers.is_empty() && self.chance(45) {
            let workers = std::mem::take(&mut self.known.workers);
            let path = self.one(&workers);
            self.known.workers = workers;
            return Step::Exit(path, self.one(&ENDS));
        }
        let at = self.random.below(self.known.supervisors.len());
        let (path, def) = self.known.supervisors[at].clone();
        if self.chance(10) {
            return Step::Exit(path, End::Killed);
        }
        let sup = self.scenario.supervisor(def).cloned().unwrap();
        if sup.strategy == Strategy::SimpleOneForOne {
            return self.dynamic_step(path, &sup);
        }
        if self.chance(12) {
            return Step::Change(path, self.changed(&sup));
        }
        let id = self.one(&NAMES).to_owned();
        let ask = match self.random.below(12) {
            0 => Ask::Which,
            1 => Ask::Count,
            2..4 => Ask::Terminate(id),
            4..6 => Ask::Restart(id),
            6 | 7 => Ask::Delete(id),
            8 => Ask::Start(self.again(&sup)),
            _ => Ask::Start(self.new_child(&path, &sup)),
        };
        Step::Ask(path, ask)
    }

    fn dynamic_step(&mut self, path: String, sup: &SupervisorDef) -> Step {
        let ask = match self.random.below(20) {
            0 | 1 => Ask::Which,
            2 => Ask::Count,
            3 => Ask::Restart("a".to_owned()),
            4 => Ask::Delete("a".to_owned()),
            5..8 => Ask::Terminate(format!("#{}", self.random.below(self.spawned as usize + 2))),
            _ => {
                let id = format!("#{}", self.spawned);
                self.spawned += 1;
                self.know(&format!("{path}/{id}"), sup.children[0]);
                Ask::Spawn(id)
            }
        };
        Step::Ask(path, ask)
    }

    /// A child there is already, or was, with another policy.
    fn again(&mut self, sup: &SupervisorDef) -> DefId {
        match sup.children.is_empty() {
            true => self.child("h", sup.auto, DEPTH_MAX, false),
            false => {
                let child = self.one(&sup.children);
                self.copied(child, sup.auto)
            }
        }
    }

    fn copied(&mut self, child: DefId, auto: AutoShutdown) -> DefId {
        let copy = self.scenario.defs[child].clone();
        self.scenario.defs.push(copy);
        let def = self.scenario.defs.len() - 1;
        self.policy(def, auto);
        def
    }

    fn new_child(&mut self, path: &str, sup: &SupervisorDef) -> DefId {
        let depth = path.split('/').count() as u32;
        let id = self.one(&["f", "g", "h"]);
        // One kind of process for each path.
        let path = format!("{path}/{id}");
        let before = self
            .known
            .supervisors
            .iter()
            .find(|(known, _)| *known == path);
        match before.map(|(_, def)| *def) {
            Some(def) => self.copied(def, sup.auto),
            None if self.known.workers.contains(&path) => {
                self.child(id, sup.auto, DEPTH_MAX, false)
            }
            None => {
                let def = self.child(id, sup.auto, depth, false);
                self.know(&path, def);
                def
            }
        }
    }

    /// The definition of a live change: some children kept, some left out, some new, some with another policy.
    fn changed(&mut self, sup: &SupervisorDef) -> DefId {
        let def = self.place("changed");
        let strategy = self.one(&[
            Strategy::OneForOne,
            Strategy::OneForAll,
            Strategy::RestForOne,
        ]);
        let auto = match sup.auto {
            AutoShutdown::Never if self.chance(80) => AutoShutdown::Never,
            _ => self.one(&[AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]),
        };
        let mut children = Vec::new();
        for &child in &sup.children {
            if self.chance(75) {
                children.push(self.copied(child, auto));
            }
        }
        if self.chance(30) {
            let at = self.random.below(children.len() + 1);
            // A name of its own, and it obeys: the process that a live change gives another specification must not
            // be a stubborn one that then has endless time.
            let child = self.child("i", auto, DEPTH_MAX, false);
            if let Body::Worker(answer) = &mut self.scenario.defs[child].body {
                *answer = ShutdownAnswer::Obeys;
            }
            children.insert(at, child);
        }
        if children.len() > 1 && self.chance(30) {
            children.swap(0, 1);
        }
        let max = self.one(&[0, 1, 2, 3, 4, 5]);
        self.scenario.defs[def].body = Body::Supervisor(SupervisorDef {
            strategy,
            max,
            auto,
            children,
        });
        def
    }
}
