//! The epoch ticker: one plain thread that makes running guests look up.
//!
//! At every tick it adds one to its own count and bumps the engine's epoch. The count is what CPU time is
//! measured in: a kill bumps the epoch too, but not the count, so it charges nobody. A plain thread, because a
//! guest that spins may occupy every worker of the async runtime. Dropping the guard stops and joins it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The ticker's count, shared with everything that measures CPU time.
#[derive(Clone, Debug, Default)]
pub(crate) struct TickCount(Arc<AtomicU64>);

impl TickCount {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Guard of the ticker's thread.
#[derive(Debug)]
pub(super) struct Ticker {
    count: TickCount,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(engine: wasmtime::Engine, period: Duration) -> std::io::Result<Self> {
        let count = TickCount::default();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("airssys-ticker".to_owned())
            .spawn({
                let (count, stop) = (count.clone(), Arc::clone(&stop));
                move || tick(&engine, period, &count, &stop)
            })?;
        Ok(Self {
            count,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn count(&self) -> &TickCount {
        &self.count
    }
}

fn tick(engine: &wasmtime::Engine, period: Duration, count: &TickCount, stop: &AtomicBool) {
    let mut next = Instant::now() + period;
    while !stop.load(Ordering::Acquire) {
        let now = Instant::now();
        if now < next {
            // Unparked early only to stop; the loop's condition tells.
            std::thread::park_timeout(next - now);
            continue;
        }
        count.0.fetch_add(1, Ordering::Relaxed);
        engine.increment_epoch();
        // A machine that slept, or a starved thread, must not be followed by a burst of ticks: guests that
        // could not run would be charged for it.
        next = (next + period).max(now);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the epoch ticker panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_stops_at_once() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config).unwrap();
        let ticker = Ticker::start(engine, Duration::from_millis(1)).unwrap();
        let count = ticker.count().clone();
        while count.now() < 3 {
            std::thread::yield_now();
        }
        drop(ticker);
        let stopped_at = count.now();
        std::thread::yield_now();
        assert_eq!(count.now(), stopped_at);
    }

    #[test]
    fn a_slow_ticker_stops_without_waiting_for_its_period() {
        let engine = wasmtime::Engine::new(&wasmtime::Config::new()).unwrap();
        // Would hang the test for a day if the drop waited for the tick.
        drop(Ticker::start(engine, Duration::from_secs(86_400)).unwrap());
    }
}
