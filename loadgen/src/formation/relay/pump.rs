//! Carries the bytes of one connection, both ways at the same time.
//!
//! ```text
//! read ──► chunk, due at now + latency ──► at most 4 MiB on their way ──► paced ──► write
//! ```
//!
//! What is on its way is bounded by [`ON_THE_WAY`] bytes in [`CHUNKS`] pieces; beyond that the sender
//! is not read from, and its own buffers fill as on any slow network.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::line::{Lane, Line, Side};

/// Most bytes that are read at once.
const CHUNK: usize = 64 * 1024;
/// Most bytes that are on their way in one direction of a connection.
const ON_THE_WAY: usize = 4 * 1024 * 1024;
/// Most pieces they may be in: brokers write small ones where little is to be said.
const CHUNKS: usize = 16 * 1024;

/// Bytes on their way.
struct Chunk {
    bytes: Bytes,
    /// When they arrive at the earliest.
    due: Instant,
    /// Their part of what may be on its way.
    _room: OwnedSemaphorePermit,
}

/// Carries everything until both sides have ended or one of them breaks.
pub(super) async fn carry(near: TcpStream, far: TcpStream, side: &Side) {
    let line = &side.line;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // A side that breaks takes the other with it; one that ends leaves it its last words.
    let _ = tokio::try_join!(
        one_way(near_read, far_write, line, side.lane(true)),
        one_way(far_read, near_write, line, side.lane(false)),
    );
}

async fn one_way(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    line: &Line,
    lane: &Lane,
) -> std::io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::try_join!(take(from, line, sender), bring(to, line, lane, receiver))?;
    Ok(())
}

async fn take(
    mut from: OwnedReadHalf,
    line: &Line,
    sender: mpsc::Sender<Chunk>,
) -> std::io::Result<()> {
    let room = Arc::new(Semaphore::new(ON_THE_WAY));
    let mut read = vec![0; CHUNK];
    loop {
        let length = from.read(&mut read).await?;
        if length == 0 {
            return Ok(());
        }
        let due = Instant::now() + line.latency();
        // Never closed, and a chunk is far less than there is room for.
        let wanted = u32::try_from(length).unwrap_or(u32::MAX);
        let Ok(taken) = Arc::clone(&room).acquire_many_owned(wanted).await else {
            return Ok(());
        };
        let chunk = Chunk {
            bytes: Bytes::copy_from_slice(&read[..length]),
            due,
            _room: taken,
        };
        if sender.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}

async fn bring(
    mut to: OwnedWriteHalf,
    line: &Line,
    lane: &Lane,
    mut receiver: mpsc::Receiver<Chunk>,
) -> std::io::Result<()> {
    while let Some(Chunk {
        mut bytes,
        due,
        _room,
    }) = receiver.recv().await
    {
        if due > Instant::now() {
            sleep_until(due).await;
        }
        while !bytes.is_empty() {
            let condition = line.heard().await;
            let part = bytes.split_to(condition.at_once().min(bytes.len()));
            if let Some(crossed) = lane.let_on(part.len(), condition) {
                sleep_until(crossed).await;
                line.heard().await;
            }
            to.write_all(&part).await?;
            lane.crossed(part.len());
        }
    }
    to.shutdown().await
}
