//! Pace and breaker around a hook that does as it is told.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use provisioner::ca::ToBeSigned;
use provisioner::code::Code;
use provisioner::hook::guard::BreakerSettings;
use provisioner::hook::{Decision, Guarded, Hook, HookAnswer, HookError, HookRequest, Pace};

use crate::node::request;

/// Fails with what is put in, else puts every node off.
#[derive(Debug, Default)]
struct Told(Mutex<Option<HookError>>);

#[async_trait]
impl Hook for Told {
    fn kind(&self) -> &'static str {
        "pool"
    }

    fn self_test(&self) -> Result<(), HookError> {
        Ok(())
    }

    async fn decide(
        &self,
        _: &HookRequest,
        _: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        match self.0.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(HookAnswer::new(Decision::Defer, String::new())),
        }
    }
}

fn told(error: Option<HookError>) -> Told {
    Told(Mutex::new(error))
}

fn breaker() -> BreakerSettings {
    BreakerSettings {
        failures: 3,
        pause: Duration::from_millis(200),
        pause_max: Duration::from_secs(1),
    }
}

#[tokio::test]
async fn a_backend_that_fails_is_left_alone_and_found_again() {
    let failing = told(Some(HookError::new(Code::HookTimeout, "nothing came")));
    let guarded = Guarded::new(failing, breaker(), None, 1);
    let about = request("n1.example.net");
    for _ in 0..3 {
        guarded.health().await.unwrap();
        guarded.admit().await.unwrap();
        assert!(guarded.decide(&about, None).await.is_err());
    }
    assert_eq!(
        guarded.health().await.unwrap_err().code,
        Code::CaUnavailable
    );
    let shut = guarded.admit().await.unwrap_err();
    assert_eq!(shut.code, Code::CaUnavailable);
    assert!(shut.unsigned, "nothing was asked");
    let pause = shut.retry_after.unwrap();
    assert!(pause <= Duration::from_millis(250), "{pause:?}");
    tokio::time::sleep(pause + Duration::from_millis(5)).await;
    guarded.health().await.unwrap();
    guarded.admit().await.unwrap();
    assert_eq!(guarded.admit().await.unwrap_err().code, Code::CaUnavailable);
}

#[tokio::test]
async fn a_backend_that_asks_for_a_pause_gets_it() {
    let pause = Duration::from_secs(40);
    let busy = HookError::unsent(Code::CaThrottled, "429").after(Some(pause));
    let guarded = Guarded::new(told(Some(busy)), breaker(), None, 1);
    guarded.admit().await.unwrap();
    let error = guarded
        .decide(&request("n1.example.net"), None)
        .await
        .unwrap_err();
    assert_eq!(error.retry_after, Some(pause));
    let shut = guarded.admit().await.unwrap_err();
    assert_eq!(shut.code, Code::CaThrottled);
    assert!(shut.retry_after.unwrap() > Duration::from_secs(38));
}

#[tokio::test]
async fn refusals_of_single_nodes_do_not_shut_everyone_out() {
    let refusing = told(Some(HookError::unsent(Code::CaRefused, "not this name")));
    let guarded = Guarded::new(refusing, breaker(), None, 1);
    for _ in 0..20 {
        guarded.admit().await.unwrap();
        assert!(
            guarded
                .decide(&request("n1.example.net"), None)
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn questions_keep_the_pace() {
    let number = |n| NonZeroU32::new(n).unwrap();
    let pace = Pace {
        rate: number(50),
        burst: number(5),
    };
    let guarded = Guarded::new(told(None), breaker(), Some(pace), 1);
    let begin = Instant::now();
    for _ in 0..15 {
        guarded.admit().await.unwrap();
    }
    // Five at once, ten more at 20 ms each.
    assert!(
        begin.elapsed() >= Duration::from_millis(190),
        "{:?}",
        begin.elapsed()
    );
}
