Feature: Data is private, encrypted under keys of ours, and there is a way back

  Scenario: every bucket is closed to the public
    Given I have aws_s3_bucket defined
    Then it must have aws_s3_bucket_public_access_block

  Scenario: every bucket has a policy
    Given I have aws_s3_bucket defined
    Then it must have aws_s3_bucket_policy

  Scenario: ACLs have no effect on any bucket
    Given I have aws_s3_bucket_ownership_controls defined
    Then it must have rule
    And it must have object_ownership
    And its value must match the "^BucketOwnerEnforced$" regex

  Scenario Outline: every public access block is complete
    Given I have aws_s3_bucket_public_access_block defined
    Then it must have <argument>
    And its value must match the "^true$" regex

    Examples:
      | argument                |
      | block_public_acls       |
      | block_public_policy     |
      | ignore_public_acls      |
      | restrict_public_buckets |

  Scenario: there is no ACL on a bucket
    Given I have aws_s3_bucket_acl defined
    Then it fails

  Scenario: there is no ACL on an object
    Given I have aws_s3_object_acl defined
    Then it fails

  Scenario: every bucket keeps old versions
    Given I have aws_s3_bucket defined
    Then it must have aws_s3_bucket_versioning

  Scenario: versioning is on
    Given I have aws_s3_bucket_versioning defined
    Then it must have versioning_configuration
    And it must have status
    And its value must match the "^Enabled$" regex

  Scenario: every bucket is encrypted by default
    Given I have aws_s3_bucket defined
    Then it must have aws_s3_bucket_server_side_encryption_configuration

  Scenario: files are encrypted under a key of ours
    Given I have aws_s3_bucket_server_side_encryption_configuration defined
    When its address is not aws_s3_bucket_server_side_encryption_configuration.storage_access_logs_encryption
    When its address is not aws_s3_bucket_server_side_encryption_configuration.replica_access_logs_encryption
    When its address is not aws_s3_bucket_server_side_encryption_configuration.website_access_logs_encryption
    Then it must have rule
    And it must have apply_server_side_encryption_by_default
    And it must have sse_algorithm
    And its value must match the "^aws:kms$" regex

  Scenario: the table is encrypted under a key of ours
    Given I have aws_dynamodb_table defined
    Then it must have server_side_encryption
    And it must have enabled
    And its value must match the "^true$" regex

  Scenario: queues are encrypted under a key of ours
    Given I have aws_sqs_queue defined
    Then it must have kms_master_key_id

  Scenario: topics are encrypted under a key of ours
    Given I have aws_sns_topic defined
    Then it must have kms_master_key_id

  Scenario: keys change every year
    Given I have aws_kms_key defined
    Then it must have enable_key_rotation
    And its value must match the "^true$" regex
