"""Problem sets of the course: made from one source, graded in a box. Students never need it."""
