//! What a caller remembers of the split that it asked last: it is never another one's, and is not kept for nothing.

use std::sync::Arc;

use airssys_wasm::IntoArgs;
use airssys_wasm_actors::{ActorRef, ChildSpec, Link, SplitSpec, System, Weight};

use super::weighted;
use crate::guests::{address, engine, system_with, template};

/// Imports `test:t/left` and `test:t/right`, exports `test:t/both`: `both() -> left's number << 16 | right's`.
const BOTH: &str = r#"(component
  (import "test:t/left" (instance $left (export "number" (func (result u32)))))
  (import "test:t/right" (instance $right (export "number" (func (result u32)))))
  (core func $left (canon lower (func $left "number")))
  (core func $right (canon lower (func $right "number")))
  (core module $m
    (import "left" "number" (func $left (result i32)))
    (import "right" "number" (func $right (result i32)))
    (func (export "both") (result i32)
      (i32.or (i32.shl (call $left) (i32.const 16)) (call $right))))
  (core instance $i (instantiate $m
    (with "left" (instance (export "number" (func $left))))
    (with "right" (instance (export "number" (func $right))))))
  (func $both (result u32) (canon lift (core func $i "both")))
  (instance (export "test:t/both") (export "both" (func $both))))"#;

/// Exports `test:t/SIDE`: `number() -> n`.
fn numbered(side: &str, n: u32) -> String {
    format!(
        r#"(component
  (core module $m (func (export "number") (result i32) (i32.const {n})))
  (core instance $i (instantiate $m))
  (func $number (result u32) (canon lift (core func $i "number")))
  (instance (export "test:t/{side}") (export "number" (func $number))))"#
    )
}

struct Sides {
    system: System,
    both: ActorRef,
    left: ActorRef,
    right: ActorRef,
}

/// A caller of `left`, who is 1, and of `right`, who is 2.
async fn sides() -> Sides {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let side =
        |name, n| ChildSpec::component(address(name), template(&engine, &numbered(name, n), &[]));
    let both = template(&engine, BOTH, &["test:t/left", "test:t/right"]);
    let both = ChildSpec::component(address("both"), both)
        .link(Link::new("test:t/left", address("left")))
        .link(Link::new("test:t/right", address("right")));
    let specs = vec![side("left", 1), side("right", 2), both];
    let refs = system.supervisor().start(specs).await.unwrap();
    let [left, right, both] = <[ActorRef; 3]>::try_from(refs).unwrap();
    Sides {
        system,
        both,
        left,
        right,
    }
}

impl Sides {
    async fn candidate(&self, side: &str, n: u32) -> ActorRef {
        let name = address(&format!("{side}-{n}"));
        let template = template(self.system.engine(), &numbered(side, n), &[]);
        let spec = ChildSpec::component(name, template);
        self.system.spawn(spec).await.unwrap()
    }

    async fn are(&self, left: u32, right: u32) {
        for _ in 0..3 {
            let answer = self.both.call("both", ()).await.unwrap();
            assert_eq!(answer, (left << 16 | right,).into_args());
        }
    }
}

fn all() -> SplitSpec {
    weighted(Weight::ALL.parts())
}

#[tokio::test]
async fn each_callees_split_is_its_own_also_with_the_same_number() {
    let sides = sides().await;
    sides.are(1, 2).await;
    let (three, four) = (
        sides.candidate("left", 3).await,
        sides.candidate("right", 4).await,
    );
    let left = sides.left.split(&three, all()).unwrap();
    sides.are(3, 2).await;
    let right = sides.right.split(&four, all()).unwrap();
    sides.are(3, 4).await;
    left.remove("left again");
    left.drained().await;
    sides.are(1, 4).await;
    let five = sides.candidate("left", 5).await;
    let left = sides.left.split(&five, all()).unwrap();
    sides.are(5, 4).await;
    right.remove("right again");
    sides.are(5, 2).await;
    assert_eq!(left.stats().1.requests, 6);
    // Six and three with the candidates there, none of them at the same time as the others.
    assert_eq!(right.stats().1.requests, 9);
    sides.system.shutdown().await;
}

#[tokio::test]
async fn a_split_that_is_removed_is_let_go_by_whoever_calls_again() {
    let sides = sides().await;
    let three = sides.candidate("left", 3).await;
    let split = sides.left.split(&three, all()).unwrap();
    sides.are(3, 2).await;
    split.remove("over");
    split.drained().await;
    let split = {
        let weak = Arc::downgrade(&split);
        drop(split);
        weak
    };
    assert!(
        split.upgrade().is_some(),
        "the caller knows it: this test would show nothing"
    );
    sides.are(1, 2).await;
    assert!(split.upgrade().is_none());
    sides.system.shutdown().await;
}
