//! Buffers that belong to threads instead of connections, so that an idle connection holds none.

use std::cell::{Cell, RefCell};

/// Size of a thread's read buffer: a TLS handshake message at its largest fits.
pub(super) const READ_SIZE: usize = 80 * 1024;
/// Spare write buffers a thread keeps.
const SPARES: usize = 4;
/// A write buffer that has grown beyond this is given back to the system.
const SPARE_SIZE: usize = 64 * 1024;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's read buffer, which holds [`READ_SIZE`] bytes of earlier content.
pub(super) fn with_read_buffer<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = READ.take();
    buffer.resize(READ_SIZE, 0);
    let result = use_it(&mut buffer);
    READ.set(buffer);
    result
}

/// An empty write buffer, with room if this thread has a spare one.
pub(super) fn take() -> Vec<u8> {
    SPARE
        .with_borrow_mut(|spares| spares.pop())
        .unwrap_or_default()
}

/// Gives a write buffer back, leaving nothing behind.
pub(super) fn give(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if (1..=SPARE_SIZE).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.with_borrow_mut(|spares| {
            if spares.len() < SPARES {
                spares.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{READ_SIZE, give, take, with_read_buffer};

    #[test]
    fn buffers_are_lent_and_used_again() {
        with_read_buffer(|outer| {
            assert_eq!(outer.len(), READ_SIZE);
            with_read_buffer(|inner| assert_eq!(inner.len(), READ_SIZE));
        });
        let mut buffer = take();
        buffer.extend_from_slice(b"a command");
        let room = buffer.capacity();
        give(&mut buffer);
        assert_eq!(buffer.capacity(), 0, "the connection keeps nothing");
        let again = take();
        assert!(again.is_empty() && again.capacity() == room);
    }
}
