//! What is under way while somebody is killed: actors, and the messages between them.

use std::time::Duration;

use airssys_wasm::{Engine, InstanceTemplate, Surface, WitError};
use airssys_wasm_actors::{
    Actor, BackpressureStrategy, ChildSpec, Context, Link, MailboxConfig, Message, Retry,
};

use crate::guests::{address, template};

/// Exports `test:t/careful`: `work(n) -> ok(n + 1)`, and `trap()`.
const LEAF: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "work") (param i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.add (local.get 0) (i32.const 1)))
      (i32.const 16))
    (func (export "trap") unreachable))
  (core instance $i (instantiate $m))
  (func $work (param "n" u32) (result (result u32 (error string)))
    (canon lift (core func $i "work") (memory $i "memory")))
  (func $trap (canon lift (core func $i "trap")))
  (instance (export "test:t/careful") (export "work" (func $work)) (export "trap" (func $trap))))"#;

/// Imports and exports `test:t/careful`: `work` passes on, and survives that it failed: `ok(0)`.
const CAREFUL: &str = r#"(component
  (import "test:t/careful" (instance $next
    (export "work" (func (param "n" u32) (result (result u32 (error string)))))))
  (core module $libc
    (memory (export "memory") 2)
    ;; Every string lands at the same place: none is kept.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $next (canon lower (func $next "work")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "next" "work" (func $next (param i32 i32)))
    (func (export "work") (param i32) (result i32)
      (call $next (local.get 0) (i32.const 32))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20)
        (select (i32.const 0) (i32.load (i32.const 36)) (i32.load8_u (i32.const 32))))
      (i32.const 16)))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "next" (instance (export "work" (func $next))))))
  (func $work (param "n" u32) (result (result u32 (error string)))
    (canon lift (core func $i "work") (memory $libc "memory")))
  (instance (export "test:t/careful") (export "work" (func $work))))"#;

/// What makes a [`CAREFUL`] call its link once in its `init` too.
const INIT: (&str, &str, &str) = (
    r#"(func (export "init") (param i32 i32) (result i32)
      (call $next (i32.const 7) (i32.const 32))
      (i32.store8 (i32.const 48) (i32.const 0))
      (i32.const 48))
    (func (export "work")"#,
    r#"(func $init (param "config" (list (tuple string string))) (result (result (error string)))
    (canon lift (core func $i "init") (memory $libc "memory") (realloc (func $libc "realloc"))))
  (func $work"#,
    r#"(instance (export "airssys:actor/init@0.1.0") (export "init" (func $init))))"#,
);

fn careful_with_init() -> String {
    let (core, lifted, export) = INIT;
    let text = CAREFUL.replacen(r#"(func (export "work")"#, core, 1);
    let text = text.replacen("(func $work", lifted, 1);
    format!("{} {export}", text.strip_suffix(')').unwrap())
}

/// The templates, made once.
pub(crate) struct Parts {
    leaf: InstanceTemplate,
    careful: InstanceTemplate,
    with_init: InstanceTemplate,
}

impl Parts {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            leaf: template(engine, LEAF, &[]),
            careful: template(engine, CAREFUL, &["test:t/careful"]),
            with_init: template(engine, &careful_with_init(), &["test:t/careful"]),
        }
    }

    fn leaf(&self, name: &str) -> ChildSpec {
        ChildSpec::component(address(name), self.leaf.clone())
    }

    fn careful(&self, name: &str, to: &str) -> ChildSpec {
        self.linked(name, Link::new("test:t/careful", address(to)))
    }

    fn linked(&self, name: &str, link: Link) -> ChildSpec {
        ChildSpec::component(address(name), self.careful.clone()).link(link)
    }
}

/// Answers `work` after it has waited: for its turn some times, and then for `rest`.
struct Slow {
    turns: u32,
    rest: Duration,
}

impl Actor for Slow {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface careful { work: func(n: u32) -> result<u32, string>; }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (n,): (u32,) = message.args()?;
        for _ in 0..self.turns {
            tokio::task::yield_now().await;
        }
        if !self.rest.is_zero() {
            tokio::time::sleep(self.rest).await;
        }
        message.reply((Ok::<u32, String>(n + 1),));
        Ok(())
    }
}

fn slow(name: &str, turns: u32, rest_ms: u64) -> ChildSpec {
    let rest = Duration::from_millis(rest_ms);
    ChildSpec::native(address(name), move || Slow { turns, rest })
}

fn depth(depth_max: u32, strategy: BackpressureStrategy) -> MailboxConfig {
    MailboxConfig {
        depth_max,
        strategy,
        ..MailboxConfig::default()
    }
}

/// One thing the host does; what has to wait gets a task of its own.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Calls `work`.
    Call(&'static str),
    /// The same, and waits so many milliseconds.
    CallWithin(&'static str, u64),
    Cast(&'static str),
    /// Calls `trap`.
    Trap(&'static str),
    Health(&'static str),
    Stop(&'static str),
    /// Starts the child that is not there from the beginning.
    Start,
}

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) children: fn(&Parts) -> Vec<ChildSpec>,
    pub(crate) late: Option<fn(&Parts) -> ChildSpec>,
    pub(crate) acts: &'static [Act],
    /// Who may end without being killed.
    pub(crate) mortal: &'static [&'static str],
}

use Act::{Call, CallWithin, Cast, Health, Start, Stop, Trap};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "calls and casts",
        children: |parts| vec![parts.leaf("leaf")],
        late: None,
        acts: &[
            Cast("leaf"),
            Cast("leaf"),
            Call("leaf"),
            Cast("leaf"),
            Call("leaf"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "a linked call",
        children: |parts| vec![parts.leaf("leaf"), parts.careful("front", "leaf")],
        late: None,
        acts: &[Call("front"), Call("front"), Cast("front")],
        mortal: &[],
    },
    Scenario {
        name: "a call that is handed over, twice nested",
        children: |parts| {
            vec![
                slow("slow", 3, 0),
                parts.careful("middle", "slow"),
                parts.careful("front", "middle"),
            ]
        },
        late: None,
        acts: &[Call("front"), Call("middle"), Call("front"), Cast("middle")],
        mortal: &[],
    },
    Scenario {
        name: "a queue that is drained",
        children: |parts| vec![slow("slow", 1, 0), parts.careful("front", "slow")],
        late: None,
        acts: &[
            Cast("front"),
            Call("front"),
            Cast("front"),
            Call("slow"),
            Call("front"),
            Cast("slow"),
            Health("front"),
            Call("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "senders that wait for room",
        children: |parts| {
            let slow = ChildSpec {
                mailbox: depth(1, BackpressureStrategy::Block),
                ..slow("slow", 2, 0)
            };
            vec![
                slow,
                parts.careful("front", "slow"),
                parts.careful("middle", "slow"),
            ]
        },
        late: None,
        acts: &[
            Call("slow"),
            Call("front"),
            Call("middle"),
            Call("slow"),
            Cast("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "a mailbox that drops its oldest",
        children: |parts| {
            let front = ChildSpec {
                mailbox: depth(2, BackpressureStrategy::DropOldest),
                ..parts.careful("front", "slow")
            };
            vec![slow("slow", 2, 0), front]
        },
        late: None,
        acts: &[
            Call("front"),
            Cast("front"),
            Call("front"),
            Cast("front"),
            Call("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "a mailbox that drops the newest",
        children: |parts| {
            let leaf = ChildSpec {
                mailbox: depth(1, BackpressureStrategy::DropNewest),
                ..parts.leaf("leaf")
            };
            vec![leaf, parts.careful("front", "leaf")]
        },
        late: None,
        acts: &[
            Cast("leaf"),
            Cast("leaf"),
            Call("leaf"),
            Call("front"),
            Call("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "a callee that dies by itself",
        children: |parts| vec![parts.leaf("leaf"), parts.careful("front", "leaf")],
        late: None,
        acts: &[
            Call("front"),
            Trap("leaf"),
            Call("front"),
            Call("leaf"),
            Trap("leaf"),
            Cast("leaf"),
        ],
        mortal: &["leaf"],
    },
    Scenario {
        name: "a link that tries again",
        children: |parts| {
            let link = Link {
                retry: Some(Retry {
                    times: 3,
                    backoff: Duration::from_millis(1),
                }),
                ..Link::new("test:t/careful", address("leaf"))
            };
            let leaf = ChildSpec {
                mailbox: depth(1, BackpressureStrategy::Error),
                ..parts.leaf("leaf")
            };
            vec![leaf, parts.linked("front", link)]
        },
        late: None,
        acts: &[Trap("leaf"), Call("front"), Call("front"), Cast("leaf")],
        mortal: &["leaf"],
    },
    Scenario {
        name: "a ring",
        children: |parts| {
            vec![
                parts.careful("front", "middle"),
                parts.careful("middle", "front"),
            ]
        },
        late: None,
        acts: &[Call("front"), Call("middle"), Call("front"), Cast("middle")],
        mortal: &[],
    },
    Scenario {
        name: "callers that do not wait long",
        children: |parts| vec![slow("slow", 0, 5), parts.careful("front", "slow")],
        late: None,
        acts: &[
            CallWithin("front", 2),
            CallWithin("front", 8),
            CallWithin("slow", 1),
            CallWithin("slow", 12),
            Health("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "an actor that is stopped",
        children: |parts| vec![slow("slow", 2, 0), parts.careful("front", "slow")],
        late: None,
        acts: &[
            Call("front"),
            Call("front"),
            Stop("front"),
            Call("front"),
            Cast("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "a callee that is stopped",
        children: |parts| vec![slow("slow", 2, 0), parts.careful("front", "slow")],
        late: None,
        acts: &[
            Call("front"),
            Call("slow"),
            Stop("slow"),
            Call("front"),
            Call("front"),
        ],
        mortal: &[],
    },
    Scenario {
        name: "an actor that is started",
        children: |_| vec![slow("slow", 2, 0)],
        late: Some(|parts| {
            let link = Link::new("test:t/careful", address("slow"));
            ChildSpec::component(address("front"), parts.with_init.clone()).link(link)
        }),
        acts: &[Call("slow"), Start, Call("slow"), Cast("slow")],
        mortal: &[],
    },
];
