//! Many requests to one function, sent together and awaited together.
//!
//! Owns the batch call: one reservation of room, one push under way and one wake-up for all of it, where an ordinary
//! call pays each of them for itself; and one timer. A batch that does not fit at once is sent one by one, each
//! when the one before it has been answered. Each request ends in its own reply or its own error, and is counted as one call.

use std::future::poll_fn;
use std::task::{Context, Poll};

use airssys_wasm::{Args, IntoArgs};

use crate::call::{CallRequest, PendingCall};
use crate::deadline::LazyTimer;
use crate::envelope::CallContext;
use crate::error::CallError;
use crate::reference::{ActorFunction, CallOptions};

/// The calls of one batch, in order.
struct Batch {
    calls: Vec<PendingCall>,
    answers: Vec<Result<Args, CallError>>,
    timer: LazyTimer,
    begun: bool,
}

impl Batch {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.begun, true) {
            PendingCall::send_all(&mut self.calls);
        }
        // In order: the task waits for the first that is not there, and then usually finds the others.
        while let Some(call) = self.calls.get_mut(self.answers.len()) {
            match call.poll(&mut self.timer, cx) {
                Poll::Ready(answer) => self.answers.push(answer),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

impl ActorFunction {
    /// Calls it once for each request and waits for all replies; the answers are in the order of the requests. The
    /// wait in `options` is that of the whole batch.
    ///
    /// The requests are pushed with one reservation and one wake-up if the mailbox has room for all of them. Otherwise
    /// each is sent when the one before it has been answered, so that a batch does not fill a mailbox by itself; one
    /// that finds no room then fails as any call does.
    pub async fn call_batch<Req: IntoArgs>(
        &self,
        requests: impl IntoIterator<Item = Req>,
        options: CallOptions,
    ) -> Vec<Result<Args, CallError>> {
        let parent = CallContext {
            trace: options.trace,
            ..CallContext::default()
        };
        let calls: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let call = CallRequest {
                    target: self.slot(),
                    caller: None,
                    export: self.export(),
                    parent: &parent,
                    within: options.within,
                    cell: None,
                };
                PendingCall::start(&call, request.into_args())
            })
            .collect();
        let mut batch = Batch {
            answers: Vec::with_capacity(calls.len()),
            calls,
            timer: LazyTimer::default(),
            begun: false,
        };
        poll_fn(|cx| batch.poll(cx)).await;
        batch.answers
    }
}
