//! The router's parsers as the configuration's pattern check, so that `check` accepts exactly
//! what the router takes.

use ringgate_config::{PatternCheck, PatternFault};
use ringgate_filters::OriginRegex;
use ringgate_router::{HostPattern, PathPattern, PatternError, Template};

/// Checks patterns and templates with the router's own parsers.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouterPatterns;

impl PatternCheck for RouterPatterns {
    fn path(&self, pattern: &str) -> Result<(), PatternFault> {
        PathPattern::parse(pattern).map(drop).map_err(fault)
    }

    fn host(&self, pattern: &str) -> Result<(), PatternFault> {
        HostPattern::parse(pattern).map(drop).map_err(fault)
    }

    fn template(&self, template: &str, path: &str) -> Result<(), PatternFault> {
        let path = PathPattern::parse(path).map_err(fault)?;
        Template::parse(template, &path).map(drop).map_err(fault)
    }

    fn origin(&self, expression: &str, samples: &[&str]) -> Result<bool, PatternFault> {
        let regex = OriginRegex::new(expression);
        let regex = regex.map_err(|why| PatternFault::new(0..expression.len(), why))?;
        Ok(samples
            .iter()
            .any(|sample| regex.is_match(sample.as_bytes())))
    }
}

fn fault(error: PatternError) -> PatternFault {
    PatternFault::new(error.span, error.message)
}
