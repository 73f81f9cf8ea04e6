//! What the service decides and does, told to a `JetStream` stream as CloudEvents 1.0.
//!
//! The audit log is the outbox: what is told is read from it, line after line, once the line is on
//! disk, and the place is remembered only when the stream has acknowledged. So a stream that cannot
//! be reached delays what is told and loses nothing, and costs no memory; and as every event holds
//! its line as it stands in the log, whoever keeps the stream can follow the chain of the log.
//! The hash of the line is the id of the event and of the message (`Nats-Msg-Id`), by which the
//! stream drops what is told twice after a kill.

mod cloud;
mod place;
mod teller;

use cloud::CloudEvent;
pub(crate) use teller::Teller;
pub use teller::Telling;
