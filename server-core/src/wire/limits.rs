//! How much of anything is accepted from the network.

/// Bounds on a received message. Every decoder takes them; beyond a bound the message is refused, never truncated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole message as received from the broker. Default 1 MiB, the default of NATS servers.
    pub max_payload: usize,
    /// Nesting of JSON objects and lists in any layer. Default 64; values above 127 have no effect, because the
    /// JSON parser stops there.
    pub max_depth: usize,
    /// Hops in the transport headers. Default 1024: the original accepts 1000.
    pub max_hops: usize,
    /// Entries of one of the five lists of a filter. Default 1024.
    pub max_filter_entries: usize,
    /// Certificates in the chain which a caller sends along. Default 8.
    pub max_certificates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 1024 * 1024,
            max_depth: 64,
            max_hops: 1024,
            max_filter_entries: 1024,
            max_certificates: 8,
        }
    }
}
