//! Picking endpoints: pure decisions of one core that still balance over all of them.
