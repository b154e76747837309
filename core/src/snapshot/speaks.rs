//! Details of how origins are spoken to.

/// Bounds of an upstream's HTTP/2 connections, per core and endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamHttp2 {
    /// Connections at a time.
    pub connections_max: u32,
    /// Requests on one connection at a time, if the origin takes as many.
    pub streams_max: u32,
    /// Bytes of a response's body that may be under way unread.
    pub stream_window: u32,
    /// Bytes of all bodies together that may be under way unread.
    pub connection_window: u32,
}

impl Default for UpstreamHttp2 {
    fn default() -> UpstreamHttp2 {
        UpstreamHttp2 {
            connections_max: 8,
            streams_max: 100,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
        }
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}
