//! The enrolment service.
