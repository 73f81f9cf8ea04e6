//! Who takes part: a seat for every worker, some kept for local children, the others for whoever
//! joins. Pure; time is told.

use std::time::Duration;

use super::words::Hello;

/// Who sits on a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sitter {
    /// What it calls itself on the control subjects.
    pub id: String,
    /// What it said of itself.
    pub hello: Hello,
    /// Beats of the coordinator since it was heard last.
    pub missed: u32,
    /// When it was given its orders, as long as it has not said that it is ready.
    pub ordered: Option<Duration>,
}

/// How far the one on a seat is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Seat {
    /// Nobody has come yet.
    #[default]
    Empty,
    /// Somebody takes part.
    Taken(Sitter),
    /// Whoever sat here left in order, or is lost.
    Left,
}

/// All seats of a run. Local children have the first ones.
#[derive(Clone, Debug)]
pub struct Seats {
    seats: Vec<Seat>,
    local: u32,
}

impl Seats {
    /// So many seats, the last `remote` of them for workers from elsewhere.
    pub fn new(workers: u32, remote: u32) -> Self {
        Self {
            seats: vec![Seat::default(); workers as usize],
            local: workers.saturating_sub(remote),
        }
    }

    /// Gives a seat to whoever says hello. Answers its number, also when it says hello again.
    ///
    /// # Errors
    /// In words for the worker, when there is no seat for it.
    pub fn take(&mut self, id: &str, hello: Hello) -> Result<u32, String> {
        if let Some(worker) = self.of(id) {
            return Ok(worker);
        }
        let free = |seat: &Seat| *seat == Seat::Empty;
        let wanted = match hello.seat {
            Some(seat) => Some(seat as usize)
                .filter(|seat| *seat < self.local as usize && free(&self.seats[*seat])),
            None => (self.local as usize..self.seats.len()).find(|seat| free(&self.seats[*seat])),
        };
        let Some(place) = wanted else {
            let remote = self.seats.len() - self.local as usize;
            return Err(match (hello.seat, remote) {
                (Some(seat), _) => format!("local worker {seat} is there already"),
                (None, 0) => "this run waits for no worker from elsewhere: start it with \
                     --remote-workers N"
                    .to_owned(),
                (None, n) => format!(
                    "all {n} workers from elsewhere are there already: start the run with a \
                     larger --remote-workers N"
                ),
            });
        };
        self.seats[place] = Seat::Taken(Sitter {
            id: id.to_owned(),
            hello,
            missed: 0,
            ordered: None,
        });
        Ok(place as u32)
    }

    /// The number of whoever calls itself `id`.
    pub fn of(&self, id: &str) -> Option<u32> {
        let found = self.taken().find(|(_, sitter)| sitter.id == id);
        found.map(|(worker, _)| worker)
    }

    /// Whoever sits on this seat.
    pub fn sitter(&self, worker: u32) -> Option<&Sitter> {
        match self.seats.get(worker as usize)? {
            Seat::Taken(sitter) => Some(sitter),
            Seat::Empty | Seat::Left => None,
        }
    }

    /// Whoever sits on this seat, to note something.
    pub fn sitter_mut(&mut self, worker: u32) -> Option<&mut Sitter> {
        match self.seats.get_mut(worker as usize)? {
            Seat::Taken(sitter) => Some(sitter),
            Seat::Empty | Seat::Left => None,
        }
    }

    /// Another beat: everybody has missed it until heard again.
    pub fn beat(&mut self) {
        for seat in &mut self.seats {
            if let Seat::Taken(sitter) = seat {
                sitter.missed = sitter.missed.saturating_add(1);
            }
        }
    }

    /// Everybody who takes part.
    pub fn taken(&self) -> impl Iterator<Item = (u32, &Sitter)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(worker, seat)| match seat {
            Seat::Taken(sitter) => Some((worker as u32, sitter)),
            Seat::Empty | Seat::Left => None,
        })
    }

    /// Whoever sat there does so no more. Answers whether this is news.
    pub fn leave(&mut self, worker: u32) -> bool {
        let Some(seat) = self.seats.get_mut(worker as usize) else {
            return false;
        };
        std::mem::replace(seat, Seat::Left) != Seat::Left
    }

    /// Seats on which nobody ever sat.
    pub fn empty(&self) -> impl Iterator<Item = u32> + '_ {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(worker, seat)| (*seat == Seat::Empty).then_some(worker as u32))
    }

    /// Whether a seat is kept for a local child.
    pub fn is_local(&self, worker: u32) -> bool {
        worker < self.local
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn hello(seat: Option<u32>) -> Hello {
        Hello {
            seat,
            host: "here".to_owned(),
            pid: 7,
            descriptors: None,
        }
    }

    #[test]
    fn seats_are_given_once_and_to_whom_they_are_kept_for() {
        let mut seats = Seats::new(3, 1);
        assert_eq!(seats.take("b", hello(Some(1))), Ok(1));
        assert_eq!(seats.take("b", hello(Some(1))), Ok(1), "said again");
        assert!(seats.take("c", hello(Some(1))).is_err());
        assert!(seats.take("c", hello(Some(2))).is_err(), "kept for others");
        assert_eq!(seats.take("r", hello(None)), Ok(2));
        let refused = seats.take("s", hello(None)).unwrap_err();
        assert!(refused.contains("--remote-workers"), "{refused}");
        assert_eq!(seats.empty().collect::<Vec<_>>(), [0]);
        assert!(seats.leave(2));
        assert!(!seats.leave(2), "no news");
        assert!(seats.take("r", hello(None)).is_err(), "gone is gone");
        let refused = Seats::new(1, 0).take("r", hello(None)).unwrap_err();
        assert!(refused.contains("waits for no worker"), "{refused}");
    }
}
