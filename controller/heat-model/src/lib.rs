//! heat-model.
