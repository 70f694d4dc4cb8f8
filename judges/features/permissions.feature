Feature: Permissions name what they allow

  A first plan knows only those policies in full that name no ARN of a resource still to be made. The others are judged
  before the plan: by the policy builder, and by parliament.

  Scenario Outline: no action is a pattern
    Given I have <kind> defined
    When it has policy
    When it has statement
    Then it must have action
    And its value must not match the ".*\*.*" regex

    Examples:
      | kind                |
      | aws_iam_role_policy |
      | aws_kms_key         |
