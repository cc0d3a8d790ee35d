# Jobs for Slurm, with an sbatch and an srun that write down what they were asked.
add_test(NAME integration_slurm_submit COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/slurm_submit_test.sh ${PROJECT_SOURCE_DIR})
set_tests_properties(integration_slurm_submit PROPERTIES LABELS integration TIMEOUT 60)
