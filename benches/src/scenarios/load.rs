//! Loading a component of 2,000 functions: compiled, and from the authenticated cache.
//!
//! The component is generated: every function differs in its constants and does what compiled code does, some
//! arithmetic, loads and stores, a loop, and a call.

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use airssys_wasm::{CacheLocation, ComponentRef, Engine, Loaded};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::scratch::Scratch;
use crate::workbench::{self, Workbench};

/// Loading a component.
const LOAD: Group = Group::new("load");

pub(crate) const ROWS: &[RowSpec] = &[
    latency("load.compile", LOAD, 1, |bench| {
        made(async { Load::compiling(bench) })
    })
    .on_one()
    .single(),
    latency("load.cached", LOAD, 1, |bench| {
        made(async { Load::cached(bench) })
    })
    .on_one()
    .single()
    .against(&["load.compile"])
    .bar(Bar::Ratio(0.05)),
];

const FUNCTIONS: u32 = 2_000;
const FUNCTIONS_QUICK: u32 = 50;

/// `load.compile` and `load.cached`.
pub(super) struct Load {
    engine: Engine,
    from: ComponentRef,
    cached: bool,
    /// Holds the component and the cache; removed with the scenario.
    _scratch: Scratch,
}

impl Load {
    /// Without a cache: every load compiles, and writes nothing.
    pub(super) fn compiling(bench: &Workbench) -> Result<Self, BenchError> {
        Self::new(bench, false)
    }

    /// With a cache that has it.
    pub(super) fn cached(bench: &Workbench) -> Result<Self, BenchError> {
        Self::new(bench, true)
    }

    fn new(bench: &Workbench, cached: bool) -> Result<Self, BenchError> {
        let scratch = Scratch::new()?;
        let functions = if bench.quick {
            FUNCTIONS_QUICK
        } else {
            FUNCTIONS
        };
        let file = scratch.path().join("functions.wasm");
        fs::write(&file, component(functions)?).or_failed("writing the generated component")?;
        let cache = if cached {
            CacheLocation::Directory(scratch.path().join("cache"))
        } else {
            CacheLocation::Off
        };
        let engine = workbench::engine(8, cache)?;
        let from = ComponentRef::File(file);
        if cached {
            engine.load(&from).or_failed("filling the cache")?;
        }
        Ok(Self {
            engine,
            from,
            cached,
            _scratch: scratch,
        })
    }
}

impl Scenario for Load {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let component = self.engine.load(&self.from).or_failed("loading")?;
                samples.record(began.elapsed(), 1);
                let from_cache = matches!(component.loaded(), Loaded::Cached { .. });
                expect("whether the cache had it", from_cache, self.cached)?;
            }
            Ok(())
        })
    }
}

/// A component that exports one of so many functions.
fn component(functions: u32) -> Result<Vec<u8>, BenchError> {
    let mut text = String::from("(component (core module $m (memory 1)\n");
    for number in 0..functions {
        // A call of the next one; the last calls nothing.
        let call = match number + 1 {
            next if next < functions => format!("(call $f{next} (local.get $x))"),
            _ => "(local.get $x)".to_owned(),
        };
        let export = if number == 0 { "(export \"run\")" } else { "" };
        let written = write!(
            text,
            "(func $f{number} {export} (param $x i32) (result i32) (local $i i32) (local $s i64)
               (local.set $i (i32.and (local.get $x) (i32.const 63)))
               (loop $again
                 (local.set $s (i64.add (local.get $s) (i64.mul
                   (i64.extend_i32_u (i32.load offset={at} (i32.shl (local.get $i) (i32.const 2))))
                   (i64.const {factor}))))
                 (i32.store offset={at} (i32.shl (local.get $i) (i32.const 2))
                   (i32.wrap_i64 (i64.xor (local.get $s) (i64.shr_u (local.get $s) (i64.const 7)))))
                 (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                 (br_if $again (i32.gt_s (local.get $i) (i32.const 0))))
               (if (result i32) (i64.eqz (i64.rem_u (local.get $s) (i64.const {divisor})))
                 (then {call})
                 (else (i32.add (i32.wrap_i64 (local.get $s))
                   (select (i32.const {number}) (local.get $x)
                     (i32.lt_u (local.get $x) (i32.const {factor})))))))\n",
            at = number % 4_096 * 4,
            factor = number * 2 + 3,
            divisor = number + 2,
        );
        written.or_failed("generating a component")?;
    }
    text.push_str(
        ") (core instance $i (instantiate $m))
         (func (export \"run\") (param \"x\" u32) (result u32) (canon lift (core func $i \"run\"))))",
    );
    wat::parse_str(&text).or_failed("encoding the generated component")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_component_is_one() {
        let bytes = component(3).unwrap();
        assert_eq!(bytes.get(..8), Some(&b"\0asm\x0d\0\x01\0"[..]));
    }
}
