//! Large payloads on their way between guests, in buffers that are used again.
//!
//! Owns [`lifted`], which copies bytes out of a guest. From [`POOLED_BYTES_MIN`] on the copy lies in a buffer that its
//! last holder gives back to the thread it is dropped on, and the next payload of that thread is copied into it: the allocator
//! would give memory of that size back to the system at once, and every message would fault its pages in again, which costs
//! many times the copy. A buffer is overwritten before it is handed out, so nobody reads what another guest
//! sent.
//!
//! Bounded: a thread keeps at most [`KEPT_BYTES_MAX`], and a buffer is less than twice as large as what lies in
//! it, so what mailboxes are charged for is at least half of what is held. Smaller payloads are the allocator's.

use std::cell::RefCell;

use bytes::Bytes;

/// Smallest payload that takes a buffer: half of what glibc's allocator keeps at the end of its heap.
const POOLED_BYTES_MIN: usize = 64 << 10;

/// Most bytes that a thread keeps while nobody uses them: the payloads there and back of an ask of the largest
/// message there is by default, and as much again.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { buffers: Vec::new(), bytes: 0 }) };
}

/// The buffers of one thread.
struct Kept {
    buffers: Vec<Vec<u8>>,
    /// Their capacities together.
    bytes: usize,
}

impl Kept {
    /// The buffer that was given back last, of exactly this capacity.
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let at = self
            .buffers
            .iter()
            .rposition(|kept| kept.capacity() == capacity)?;
        self.bytes = self.bytes.saturating_sub(capacity);
        Some(self.buffers.remove(at))
    }

    /// Keeps it in the place of those that have lain there the longest, if it may.
    fn keep(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        if buffer.capacity() > KEPT_BYTES_MAX {
            return vec![buffer];
        }
        self.bytes = self.bytes.saturating_add(buffer.capacity());
        self.buffers.push(buffer);
        let mut over = self.bytes;
        let crowded = self.buffers.iter().take_while(|oldest| {
            let crowded = over > KEPT_BYTES_MAX;
            if crowded {
                over = over.saturating_sub(oldest.capacity());
            }
            crowded
        });
        let crowded = crowded.count();
        self.bytes = over;
        self.buffers.drain(..crowded).collect()
    }
}

/// Bytes that came out of a guest, owned by the host.
pub(crate) fn lifted(bytes: &[u8]) -> Bytes {
    if bytes.len() < POOLED_BYTES_MIN {
        return Bytes::copy_from_slice(bytes);
    }
    let capacity = bytes.len().next_power_of_two();
    let kept = KEPT.try_with(|kept| kept.borrow_mut().take(capacity));
    let mut buffer = kept
        .ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(capacity));
    buffer.clear();
    buffer.extend_from_slice(bytes);
    Bytes::from_owner(Pooled(buffer))
}

/// A buffer in use.
struct Pooled(Vec<u8>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // Freed outside of the borrow; a thread that ends keeps nothing.
        let crowded = KEPT.try_with(|kept| kept.borrow_mut().keep(buffer));
        drop(crowded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn kept() -> (usize, usize) {
        KEPT.with(|kept| {
            let kept = kept.borrow();
            let capacities: usize = kept.buffers.iter().map(Vec::capacity).sum();
            assert_eq!(kept.bytes, capacities);
            (kept.buffers.len(), kept.bytes)
        })
    }

    #[test]
    fn a_buffer_is_used_again_and_holds_nothing_of_before() {
        let first = lifted(&vec![7; MIB]);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(kept(), (1, MIB));
        let second = lifted(&vec![9; MIB - 5]);
        assert_eq!(second.as_ptr(), at);
        assert_eq!(second, vec![9; MIB - 5]);
        assert_eq!(kept(), (0, 0));
        // A clone is another holder of the same buffer.
        let clone = second.slice(1..3);
        drop(second);
        assert_eq!(kept(), (0, 0));
        drop(clone);
        assert_eq!(kept(), (1, MIB));
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_may() {
        let many: Vec<_> = (0..9).map(|_| lifted(&vec![1; MIB])).collect();
        drop(many);
        assert_eq!(kept(), (4, KEPT_BYTES_MAX));
        drop(lifted(&vec![1; KEPT_BYTES_MAX + 1]));
        assert_eq!(kept(), (4, KEPT_BYTES_MAX));
        drop(lifted(&vec![1; POOLED_BYTES_MIN]));
        assert_eq!(kept(), (4, 3 * MIB + POOLED_BYTES_MIN));
        drop(lifted(&vec![1; KEPT_BYTES_MAX]));
        assert_eq!(kept(), (1, KEPT_BYTES_MAX));
    }

    #[test]
    fn a_small_payload_is_the_allocators() {
        drop(lifted(&[1; 100]));
        assert_eq!(kept(), (0, 0));
    }
}
