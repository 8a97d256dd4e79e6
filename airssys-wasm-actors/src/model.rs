//! Models of the wake-up and the hand-over, explored by loom: `cargo test -p airssys-wasm-actors --features
//! model --lib model::`.
//!
//! Owns the scene: a real slot with its real mailbox, lane, place to rest and drain, a behaviour as small as one
//! can be, and callers that take the short road first, as `call.rs` does. [`cases`] says what must hold in
//! every interleaving of a few threads and under loom's weak memory, up to a bound on preemptions. That the
//! models can fail is shown there too: with the fences, the second look or the wake-ups taken out ([`Broken`]),
//! each is found out. Not modelled: ractor, timers, supervisors, wasm.

mod cases;

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::task::{Context, Poll};

use airssys_wasm::{Args, CacheLocation, Engine, EngineConfig, ExportId, IntoArgs, Surface, Value};
use loom::cell::UnsafeCell;
use loom::future::block_on;
use loom::thread::JoinHandle;

use crate::call::refused;
use crate::crashes::Given;
use crate::drain::{Behaviour, ExitGuard, Lease, drain, park};
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::mailbox::MailboxConfig;
use crate::reply::{Answer, ReplyCell};
use crate::resting::{AtRest, Direct, Resting, Tried, run_from};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::slot::Slot;
use crate::supervisor::{ExitSink, Record, SupervisorSpec};
use crate::sync::Broken;

/// A message that is pending once before it is answered.
const WAITS: u32 = 100;

/// Stack of a modelled thread, in words: loom's own default is too small for real code.
const STACK_WORDS: usize = 0x8000;

/// Answers each message with its number.
pub(crate) struct Tiny {
    slot: Arc<Slot>,
    notes: Arc<Notes>,
    /// Whoever has the behaviour touches this: loom fails if two do, or if one has not seen what the other did.
    owned: UnsafeCell<()>,
}

/// What has happened, beside the model: these are no operations of it.
#[derive(Default)]
struct Notes {
    handled: Mutex<Vec<u32>>,
    /// Behaviours dropped.
    dropped: AtomicUsize,
}

impl Tiny {
    fn touch(&self) {
        self.owned.with_mut(|_| ());
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.touch();
        self.notes.dropped.fetch_add(1, Ordering::Relaxed);
        assert!(
            self.slot.is_active(),
            "the guard was dropped before the behaviour"
        );
    }
}

impl AtRest for Tiny {
    async fn call(
        self,
        _: ExportId,
        args: Args,
        _: CallContext,
        _: Given,
    ) -> (Answer, Result<Self, ExitReason>) {
        self.touch();
        assert!(!self.slot.lane().is_idle(), "its lane is idle");
        let n = match args.values() {
            [Value::U32(n)] => *n,
            other => panic!("{other:?}"),
        };
        self.notes.handled.lock().unwrap().push(n);
        if n >= WAITS {
            let mut waited = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut waited, true) {
                    return Poll::Ready(());
                }
                // Whoever polls now is woken; whoever adopts the call must poll without being woken.
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            self.touch();
        }
        (Ok((n,).into_args()), Ok(self))
    }
}

impl Behaviour for Tiny {
    fn place(slot: &Slot) -> Option<&Resting<Self>> {
        Some(&slot.modelled)
    }

    async fn deliver(self, mut envelope: Box<Envelope>) -> Result<Self, ExitReason> {
        let args = envelope.begin();
        let context = std::mem::take(&mut envelope.context);
        let given = Given {
            sender: envelope.sender,
            cast: false,
            units: 0,
        };
        let (answer, after) = self.call(envelope.export, args, context, given).await;
        envelope.finish(answer);
        after
    }

    async fn signal(self, _: Signal) -> Result<Self, ExitReason> {
        self.touch();
        Ok(self)
    }

    async fn health(self) -> Result<(Self, ChildHealth), ExitReason> {
        self.touch();
        Ok((self, ChildHealth::Healthy))
    }

    async fn stop(self, reason: ExitReason) -> ExitReason {
        self.touch();
        reason
    }
}

/// One actor, made anew for each interleaving.
#[derive(Clone)]
struct Scene {
    slot: Arc<Slot>,
    sink: ExitSink,
    notes: Arc<Notes>,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            pool_instances_max: 1,
            ..EngineConfig::default()
        })
        .unwrap()
    })
}

fn surface() -> &'static Arc<Surface> {
    static SURFACE: OnceLock<Arc<Surface>> = OnceLock::new();
    let wit = "package test:test; interface test { f: func(n: u32); }";
    SURFACE.get_or_init(|| Arc::new(Surface::from_wit(wit).unwrap()))
}

fn shared() -> Arc<Shared> {
    Shared::new(engine().clone(), crate::shared::Bounds::default(), true)
}

fn slot(shared: &Arc<Shared>, name: &str, rests: bool) -> Arc<Slot> {
    let config = MailboxConfig::default();
    let slot = Slot::new(
        shared,
        name.parse().unwrap(),
        Arc::clone(surface()),
        config,
        rests,
    );
    shared.register(std::slice::from_ref(&slot), &[]).unwrap();
    slot
}

impl Scene {
    fn new(rests: bool) -> Self {
        let shared = shared();
        let slot = slot(&shared, "actor", rests);
        let spec = SupervisorSpec::new("supervisor".parse().unwrap());
        let sink = ExitSink::new(Record::new(
            &spec,
            &shared,
            std::sync::Weak::new(),
            crate::RestartPolicy::Permanent,
        ));
        Self {
            slot,
            sink,
            notes: Arc::default(),
        }
    }

    /// An incarnation, as `host.rs` makes it.
    fn incarnation(&self) -> impl Future<Output = ()> + Send + 'static {
        let number = self.slot.begin();
        self.slot.running();
        let guard = ExitGuard::new(Arc::clone(&self.slot), number, self.sink.clone());
        let lease = Lease::<Tiny>::new(guard);
        let tiny = Tiny {
            slot: Arc::clone(&self.slot),
            notes: Arc::clone(&self.notes),
            owned: UnsafeCell::new(()),
        };
        let held = park(tiny, &self.slot);
        drain(held, Arc::clone(&self.slot), lease)
    }

    /// Has an incarnation drain in a thread of its own.
    fn drain(&self) -> JoinHandle<()> {
        let incarnation = self.incarnation();
        spawn(move || block_on(incarnation))
    }

    fn export(&self) -> ExportId {
        self.slot.surface().export("f").unwrap()
    }

    /// Calls: by the short road if it is open, by the mailbox otherwise, as `call.rs` does.
    fn ask(&self, n: u32) -> Answer {
        let mut args = (n,).into_args();
        let mut sent: Option<Arc<ReplyCell>> = None;
        block_on(poll_fn(move |cx| {
            let cell = match &sent {
                Some(cell) => cell,
                None => match self.send(&mut args, cx) {
                    Ok(cell) => sent.insert(cell),
                    Err(answer) => return Poll::Ready(answer),
                },
            };
            cell.poll(cx)
        }))
    }

    /// Where the answer will come, or the end of the call.
    fn send(&self, args: &mut Args, cx: &mut Context<'_>) -> Result<Arc<ReplyCell>, Answer> {
        let call = Direct {
            target: &self.slot,
            caller: None,
            export: self.export(),
            context: CallContext::default(),
            cell: None,
        };
        match run_from(&self.slot.modelled, &call, args, cx) {
            Tried::Ended(ended) => {
                let results = ended.map(|()| std::mem::take(args));
                return Err(results.map_err(|why| *why));
            }
            Tried::HandedOver { cell, .. } => return Ok(cell),
            Tried::No => {}
        }
        let (cell, args) = (Arc::<ReplyCell>::default(), std::mem::take(args));
        let target = Arc::clone(&self.slot);
        let envelope = Envelope::call(
            target,
            None,
            self.export(),
            args,
            CallContext::default(),
            cell.open(),
        );
        let pushed = self.slot.mailbox().push(envelope);
        pushed.map_or_else(
            |refusal| Err(Err(refused(&self.slot, refusal).0)),
            |()| Ok(cell),
        )
    }

    fn cast(&self, n: u32) {
        let context = CallContext::default();
        let envelope = Envelope::cast(
            Arc::clone(&self.slot),
            None,
            self.export(),
            (n,).into_args(),
            context,
        );
        assert!(self.slot.mailbox().push(envelope).is_ok());
        self.slot.counters().cast();
    }

    fn handled(&self) -> Vec<u32> {
        self.notes.handled.lock().unwrap().clone()
    }

    /// Nobody drains any more and the registration has ended: nothing is left, and what was made is dropped.
    fn is_over(&self, incarnations: usize) {
        assert!(!self.slot.is_active());
        assert_eq!(self.slot.mailbox().usage(), (0, 0));
        assert!(!self.slot.mailbox().has_queued());
        assert_eq!(self.notes.dropped.load(Ordering::Relaxed), incarnations);
        let counted = self.slot.counters().read();
        assert_eq!(counted.casts, counted.casts_handled + counted.dead_letters);
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    loom::thread::Builder::new()
        .stack_size(STACK_WORDS)
        .spawn(run)
        .unwrap()
}

fn answered(n: u32) -> impl Fn(Answer) {
    move |answer| assert_eq!(answer.unwrap(), (n,).into_args())
}

/// Explores `case` in every interleaving with at most `preemptions` of them (`LOOM_MAX_PREEMPTIONS` overrules). A panic anywhere fails it, also
/// one that the code under test has caught.
fn explore(preemptions: usize, case: impl Fn() + Sync + Send + 'static) {
    static HOOK: Once = Once::new();
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
    engine();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 100_000;
    let case = Arc::new(case);
    builder.check(move || {
        let (case, panics) = (Arc::clone(&case), PANICS.load(Ordering::Relaxed));
        spawn(move || case()).join().unwrap();
        assert_eq!(
            PANICS.load(Ordering::Relaxed),
            panics,
            "a thread has panicked"
        );
    });
}

/// Runs the case of another test with a part of the synchronisation taken out: that test must fail, and say
/// `found`. In a process of its own, because loom aborts when it unwinds a model.
fn fails_without(broken: Broken, test: &str, found: &str) {
    let test = format!(
        "{}::cases::{test}",
        module_path!().split_once("::").unwrap().1
    );
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(Broken::VARIABLE, format!("{broken:?}"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "{test} is no test: {said}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains(found),
        "{test} does not see that {broken:?} is missing: {told}"
    );
}
