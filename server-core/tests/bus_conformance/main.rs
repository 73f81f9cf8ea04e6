//! What every transport promises, asked of each of them, over real brokers where it has any.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

mod brokers;
mod certificates;
mod everywhere;
mod hostile;
mod network;
mod real;
mod swarm_only;

/// Makes one test of each case for one transport.
macro_rules! conforms {
    ($transport:ident: $($module:ident::$case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::network::within(crate::$module::$case(
                    crate::network::Network::$transport(),
                ))
                .await;
            }
        )*
    };
}

macro_rules! conforms_everywhere {
    ($($transport:ident)*) => { $( mod $transport {
        conforms! { $transport:
            everywhere::messages_arrive_whole
            everywhere::order_is_kept
            everywhere::a_subscription_precedes_what_is_published_after_it
            everywhere::subscriptions_of_the_dial_are_there_from_the_start
            everywhere::a_queue_group_shares_and_others_get_everything
            everywhere::an_ended_subscription_is_silent
            everywhere::misuse_is_refused_and_costs_nothing
            everywhere::what_was_published_before_closing_arrives
            everywhere::a_slow_reader_loses_nothing_unseen
            everywhere::counters_and_address_tell_the_truth
            everywhere::a_lost_connection_comes_back_with_its_subscriptions
            everywhere::a_connection_closed_while_lost_stays_closed
            everywhere::nobody_there_ends_after_the_allowed_attempts
        }
    } )* };
}

macro_rules! conforms_really {
    ($($name:ident: $transport:ident;)*) => { $( mod $name {
        conforms! { $transport:
            real::unusable_addresses_are_refused_at_once
            real::credentials_decide_who_comes_in
            real::tls_holds_both_ways_and_through_a_restart
            real::certificates_decide_who_is_spoken_to
            real::the_other_configured_broker_takes_over
            real::the_first_address_comes_first_where_asked
            real::headers_of_others_are_not_part_of_a_message
            real::a_broker_that_lags_hears_the_last_words
        }
    } )* };
}

conforms_everywhere! { memory nats swarm }
conforms_really! { nats_really: nats; swarm_really: swarm; }
