//! Why a head or a body was refused: one variant per reason.

/// Why a head was refused. For a request [`HeadError::status`] is the answer; a refused
/// response is a 502 to the client, and its code goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// LF without CR before it (RFC 9112, 2.2 lets a reader take it; we do not).
    BareLf,
    /// CR without LF behind it.
    BareCr,
    /// More than one empty line before a request, or any before a response.
    EmptyLine,
    /// The request line is not `method SP target SP version`.
    RequestLine,
    /// The method is not a token of at most 32 bytes.
    Method,
    /// A byte in the target that is not visible ASCII, or `#`.
    Target,
    /// The target is longer than the limit.
    TargetTooLong,
    /// The target has a form that its method does not take.
    TargetForm,
    /// An absolute target with a scheme that is not http or https.
    Scheme,
    /// The version is not spelled `HTTP/d.d`.
    Version,
    /// A version other than 1.0 and 1.1.
    VersionUnsupported,
    /// The status line is not `version SP 3DIGIT SP reason`, or the status is below 100; in
    /// HTTP/2, 101 or an interim response that ends the stream.
    StatusLine,
    /// A line that continues the one before (RFC 9112, 5.2).
    ObsFold,
    /// A blank between field name and colon (RFC 9112, 5.1).
    SpaceBeforeColon,
    /// A field line without a name.
    EmptyFieldName,
    /// A field name that is not a token, or a line without colon.
    FieldName,
    /// A control character in a field value.
    FieldValue,
    /// More field lines than the limit.
    TooManyFields,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// An HTTP/1.1 request without `Host`.
    NoHost,
    /// More than one `Host`.
    TwoHosts,
    /// `Host` or the target's authority is not `host[:port]`.
    Authority,
    /// `Host` differs from the authority in the target.
    HostMismatch,
    /// `Content-Length` and `Transfer-Encoding` together.
    ClAndTe,
    /// `Content-Length` more than once, or a list of lengths, equal or not.
    TwoContentLengths,
    /// `Content-Length` is not a number of digits below 2^64, or names bytes where an HTTP/2
    /// message ended with its head.
    ContentLength,
    /// `Transfer-Encoding` in HTTP/1.0.
    TeInHttp10,
    /// More than one `Transfer-Encoding`.
    TwoTransferEncodings,
    /// A transfer coding other than `chunked` alone, or `chunked` with parameters.
    TransferEncoding,
    /// `Connection` names a field that this gateway depends upon.
    ConnectionOption,
    /// A member of `Connection` is not a token.
    Connection,
    /// `Expect` asks for something other than `100-continue`.
    Expectation,
    /// A field of the connection in HTTP/2, which has none (RFC 9113, 8.2.2).
    HopField,
    /// A blank at the begin or end of a field value in HTTP/2 (RFC 9113, 8.2.1).
    FieldBlanks,
    /// An extended CONNECT for a protocol other than WebSocket (RFC 8441).
    ConnectProtocol,
}

impl HeadError {
    /// The status that answers a request refused for this reason.
    pub const fn status(self) -> u16 {
        match self {
            HeadError::TargetTooLong => 414,
            HeadError::Expectation => 417,
            HeadError::TooManyFields | HeadError::HeadTooLarge => 431,
            HeadError::TransferEncoding | HeadError::ConnectProtocol => 501,
            HeadError::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// The reason code for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            HeadError::BareLf => "bare_lf",
            HeadError::BareCr => "bare_cr",
            HeadError::EmptyLine => "empty_line",
            HeadError::RequestLine => "request_line",
            HeadError::Method => "method",
            HeadError::Target => "target",
            HeadError::TargetTooLong => "target_too_long",
            HeadError::TargetForm => "target_form",
            HeadError::Scheme => "scheme",
            HeadError::Version => "version",
            HeadError::VersionUnsupported => "version_unsupported",
            HeadError::StatusLine => "status_line",
            HeadError::ObsFold => "obs_fold",
            HeadError::SpaceBeforeColon => "space_before_colon",
            HeadError::EmptyFieldName => "empty_field_name",
            HeadError::FieldName => "field_name",
            HeadError::FieldValue => "field_value",
            HeadError::TooManyFields => "too_many_fields",
            HeadError::HeadTooLarge => "head_too_large",
            HeadError::NoHost => "no_host",
            HeadError::TwoHosts => "two_hosts",
            HeadError::Authority => "authority",
            HeadError::HostMismatch => "host_mismatch",
            HeadError::ClAndTe => "cl_and_te",
            HeadError::TwoContentLengths => "two_content_lengths",
            HeadError::ContentLength => "content_length",
            HeadError::TeInHttp10 => "te_in_http10",
            HeadError::TwoTransferEncodings => "two_transfer_encodings",
            HeadError::TransferEncoding => "transfer_encoding",
            HeadError::ConnectionOption => "connection_option",
            HeadError::Connection => "connection",
            HeadError::Expectation => "expectation",
            HeadError::HopField => "hop_field",
            HeadError::FieldBlanks => "field_blanks",
            HeadError::ConnectProtocol => "connect_protocol",
        }
    }
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for HeadError {}

/// Why a body was refused. The connection it came on cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyError {
    /// The peer closed before the body's end.
    Truncated,
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSize,
    /// A line in the chunked coding that does not end in CRLF.
    ChunkLine,
    /// A control character in a chunk extension.
    ChunkExtension,
    /// A chunk extension longer than the limit.
    ChunkExtensionTooLong,
    /// Far more framing than data.
    ChunkOverhead,
    /// A trailer line that is not a field line.
    Trailer,
    /// More trailers, in bytes or lines, than the limit.
    TrailersTooLarge,
}

impl BodyError {
    /// The status that answers a request whose body was refused, if it was not answered yet.
    pub const fn status(self) -> u16 {
        match self {
            BodyError::TrailersTooLarge => 431,
            _ => 400,
        }
    }

    /// The reason code for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            BodyError::Truncated => "body_truncated",
            BodyError::ChunkSize => "chunk_size",
            BodyError::ChunkLine => "chunk_line",
            BodyError::ChunkExtension => "chunk_extension",
            BodyError::ChunkExtensionTooLong => "chunk_extension_too_long",
            BodyError::ChunkOverhead => "chunk_overhead",
            BodyError::Trailer => "trailer",
            BodyError::TrailersTooLarge => "trailers_too_large",
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for BodyError {}
