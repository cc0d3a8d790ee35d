# The operations of which networks are made: formula (any device, any type) and fused CPU kernels.
set(MODEL_OPS_SOURCES ops.cpp ops_formula.cpp)
