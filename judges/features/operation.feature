Feature: What runs leaves a trace, and what fails is kept

  Scenario: every log group has an end
    Given I have aws_cloudwatch_log_group defined
    Then it must have retention_in_days
    And its value must be greater than 0

  Scenario: every log group is encrypted under a key of ours
    Given I have aws_cloudwatch_log_group defined
    Then it must have kms_key_id

  Scenario: every function is traced
    Given I have aws_lambda_function defined
    Then it must have tracing_config
    And it must have mode
    And its value must match the "^Active$" regex

  Scenario: every function has dead letters
    Given I have aws_lambda_function defined
    Then it must have dead_letter_config
    And it must have target_arn

  Scenario: every function's variables are encrypted under a key of ours
    Given I have aws_lambda_function defined
    When it has environment
    Then it must have kms_key_arn

  Scenario: every asynchronous call that fails ends somewhere
    Given I have aws_lambda_function_event_invoke_config defined
    Then it must have destination_config
    And it must have on_failure
    And it must have destination

  Scenario: every target of a rule has dead letters
    Given I have aws_cloudwatch_event_target defined
    Then it must have dead_letter_config
    And it must have arn

  Scenario: every subscription has dead letters
    Given I have aws_sns_topic_subscription defined
    Then it must have redrive_policy

  Scenario: the workflow is traced
    Given I have aws_sfn_state_machine defined
    Then it must have tracing_configuration
    And it must have enabled
    And its value must match the "^true$" regex

  Scenario: the workflow logs everything
    Given I have aws_sfn_state_machine defined
    Then it must have logging_configuration
    And it must have level
    And its value must match the "^ALL$" regex

  Scenario: the API's stage is traced
    Given I have aws_api_gateway_stage defined
    Then it must have xray_tracing_enabled
    And its value must match the "^true$" regex

  Scenario: the API's stage has an access log
    Given I have aws_api_gateway_stage defined
    Then it must have access_log_settings
    And it must have destination_arn

  Scenario: every alarm tells someone
    Given I have aws_cloudwatch_metric_alarm defined
    Then it must have alarm_actions

  Scenario: every alarm says what to do
    Given I have aws_cloudwatch_metric_alarm defined
    Then it must have alarm_description
    And its value must match the ".+Next: .+" regex
