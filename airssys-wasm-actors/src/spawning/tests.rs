//! What one incarnation has spawned, on native actors.

use airssys_wasm::{CacheLocation, Engine, EngineConfig, Surface, WitError};
use tokio::sync::Semaphore;

use super::*;
use crate::mailbox::MailboxConfig;
use crate::native::{Actor, Context, Message};
use crate::supervisor::{RestartPolicy, Strategy, SupervisorSpec};
use crate::system::{System, SystemConfig};

/// Its `d` lasts until the semaphore lets it go; its `e` ends it.
struct Worker(Arc<Semaphore>);

impl Actor for Worker {
    type Error = std::io::Error;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package a:b; interface c { d: func(); e: func(); }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        context: &mut Context,
    ) -> Result<(), Self::Error> {
        if message.function() == "d" {
            self.0.acquire().await.unwrap().forget();
        } else {
            context.stop();
        }
        message.reply(());
        Ok(())
    }
}

fn address(text: &str) -> ActorAddress {
    text.parse().unwrap()
}

struct Family {
    system: System,
    parent: Arc<Slot>,
    spawning: Spawning,
    gate: Arc<Semaphore>,
}

impl Family {
    async fn new(children_max: u32) -> Self {
        let engine = Engine::new(EngineConfig {
            pool_instances_max: 1,
            cache: CacheLocation::Off,
            ..EngineConfig::default()
        })
        .unwrap();
        let system = System::start(SystemConfig::new(engine)).await.unwrap();
        let spec = SupervisorSpec {
            strategy: Strategy::SimpleOneForOne,
            ..SupervisorSpec::new(address("family"))
        };
        system.supervise(spec).await.unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let worker = {
            let gate = Arc::clone(&gate);
            ChildSpec {
                restart: RestartPolicy::Temporary,
                ..ChildSpec::native(address("worker"), move || Worker(Arc::clone(&gate)))
            }
        };
        let templates = BTreeMap::from([("worker".to_owned(), worker)]);
        let parent = Slot::new(
            system.shared(),
            address("parent"),
            Arc::new(Worker::surface().unwrap()),
            MailboxConfig::default(),
            false,
        );
        Self {
            spawning: Spawning::new(address("family"), templates, children_max, 1),
            system,
            parent,
            gate,
        }
    }

    /// Of a new incarnation.
    fn nursery(&self) -> Nursery {
        Nursery::new(&self.parent, self.spawning.clone())
    }

    fn child(&self, name: &str) -> Option<crate::ActorRef> {
        self.system.whereis(&address(&format!("parent/{name}")))
    }

    async fn busy(&self, name: &str) {
        let child = self.child(name).unwrap();
        child.cast("d", ()).unwrap();
        // On one thread everybody has gone as far as it can then.
        all_have_run().await;
    }

    async fn until_gone(&self, name: &str) {
        while self.child(name).is_some() {
            tokio::task::yield_now().await;
        }
    }
}

async fn all_have_run() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

async fn spawn(nursery: &mut Nursery, name: &str) {
    let asked = nursery.spawn("worker", name, Vec::new()).unwrap();
    asked.await.unwrap();
}

fn names(nursery: &mut Nursery) -> Vec<String> {
    match nursery.names() {
        MessagingReply::Names(names) => names.into_iter().map(String::from).collect(),
        _ => panic!("no names"),
    }
}

/// One that is not registered yet is not one that has ended.
#[tokio::test]
async fn what_is_being_started_is_not_forgotten() {
    let family = Family::new(1).await;
    let mut nursery = family.nursery();
    let mut late = nursery.spawn("worker", "y", Vec::new()).unwrap();
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(late.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    assert!(family.child("y").is_none() && names(&mut nursery).is_empty());
    drop((nursery, late));
    all_have_run().await;
    assert!(family.child("y").is_none());
    let supervisor = family.system.supervisors();
    assert!(supervisor.iter().all(|one| one.children().is_empty()));
}

#[tokio::test]
async fn what_the_next_incarnation_spawns_is_not_taken_for_what_it_found() {
    let family = Family::new(10).await;
    let mut before = family.nursery();
    for name in ["w1", "w2", "x"] {
        spawn(&mut before, name).await;
    }
    for name in ["w1", "w2"] {
        family.busy(name).await;
    }
    // One that is being started when its parent ends.
    let mut late = before.spawn("worker", "y", Vec::new()).unwrap();
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(late.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(before);
    drop(late);
    let mut after = family.nursery();
    let next = tokio::spawn(async move {
        for name in ["x", "y"] {
            spawn(&mut after, name).await;
        }
        after
    });
    for name in ["w1", "w2"] {
        all_have_run().await;
        assert!(family.child(name).is_some());
        family.gate.add_permits(1);
    }
    let mut after = next.await.unwrap();
    for name in ["w1", "w2"] {
        family.until_gone(name).await;
    }
    all_have_run().await;
    assert!(family.child("x").is_some() && family.child("y").is_some());
    assert_eq!(names(&mut after), ["x", "y"]);
    drop(after);
    for name in ["x", "y"] {
        family.until_gone(name).await;
    }
    family.system.shutdown().await;
}

#[tokio::test]
async fn children_that_end_by_themselves_do_not_pile_up() {
    let family = Family::new(3).await;
    let mut nursery = family.nursery();
    spawn(&mut nursery, "stays").await;
    for number in 0..20 {
        let name = format!("n{number}");
        spawn(&mut nursery, &name).await;
        family.child(&name).unwrap().call("e", ()).await.unwrap();
        family.until_gone(&name).await;
        assert!(nursery.owned.lock().len() <= 3);
    }
    assert_eq!(names(&mut nursery), ["stays"]);
    family.system.shutdown().await;
}
